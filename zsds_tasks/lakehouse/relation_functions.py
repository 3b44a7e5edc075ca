"""What a relation may call: functions of columns, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsds_tasks.sky import healpix

_UNIX_EPOCH_MJD = 40_587.0
_MICROSECONDS_PER_DAY = 86_400_000_000


def _mjd(times: pd.Series) -> pd.Series:
    """Return the Modified Julian Dates (UTC days) of timestamps."""
    microseconds = times.astype("datetime64[us, UTC]").astype("int64").where(times.notna())
    return microseconds / _MICROSECONDS_PER_DAY + _UNIX_EPOCH_MJD


def _separation(ra1: Any, dec1: Any, ra2: Any, dec2: Any) -> Any:
    """Return the angle between two directions, degrees in and out; haversine, exact for small angles."""
    a1, d1, a2, d2 = (np.radians(x) for x in (ra1, dec1, ra2, dec2))
    h = np.sin((d2 - d1) / 2) ** 2 + np.cos(d1) * np.cos(d2) * np.sin((a2 - a1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(h, 0, 1))))


def _healpix(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Return the spatial index of HATS (nested, order 29); missing where there is no such position."""
    places = np.array([ra.to_numpy(np.float64, na_value=np.nan), dec.to_numpy(np.float64, na_value=np.nan)])
    known = np.isfinite(places).all(axis=0) & (np.abs(places[1]) <= 90.0)
    found = np.zeros(len(ra), np.int64)
    found[known] = healpix.index_of(*places[:, known])
    return pd.Series(pd.arrays.IntegerArray(found, ~known), index=ra.index)


def _log10(numbers: Any) -> Any:
    """Return decimal logarithms; missing where there is none, so that the relation is open there."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(numbers.where(numbers > 0) if isinstance(numbers, pd.Series) else numbers)


def _ends_with(texts: pd.Series, endings: pd.Series) -> pd.Series:
    pairs = zip(texts, endings, strict=True)
    return pd.Series([str(t).endswith(str(e)) for t, e in pairs], index=texts.index, dtype=bool)


def _count(nested: pd.Series) -> pd.Series:
    """Return how many elements a nested column has in each row; missing where its lists differ in length."""
    column = _lists(nested)
    lengths = [pc.fill_null(pc.list_value_length(values), -1).to_numpy() for values in column.values()]
    same = np.all([length == lengths[0] for length in lengths], axis=0) & (lengths[0] >= 0)
    return pd.Series(pd.arrays.IntegerArray(lengths[0].astype(np.int64), ~same), index=nested.index)


def _complete(nested: pd.Series) -> pd.Series:
    """Say in which rows of a nested column no value is null or NaN."""
    fine = np.ones(len(nested), bool)
    for values in _lists(nested).values():
        rows, elements = _elements(values)
        fine[rows[~np.isfinite(elements)]] = False
    return pd.Series(fine, index=nested.index)


def _ascending(nested: pd.Series, name: str) -> pd.Series:
    """Say in which rows of a nested column the values of one of its lists do not decrease."""
    rows, elements = _elements(_lists(nested)[name])
    fine = np.ones(len(nested), bool)
    fine[rows[1:][(np.diff(rows) == 0) & ~(np.diff(elements) >= 0)]] = False
    return pd.Series(fine, index=nested.index)


def _extreme(kind: str) -> Callable[[pd.Series, str], pd.Series]:
    def of(nested: pd.Series, name: str) -> pd.Series:
        """Return the smallest or largest value of one list of a nested column; missing where it is empty."""
        rows, elements = _elements(_lists(nested)[name])
        found = pd.Series(elements).groupby(rows).agg(kind)
        return pd.Series(found.reindex(range(len(nested))).to_numpy(), index=nested.index)

    return of


def _lists(nested: pd.Series) -> dict[str, pa.Array]:
    """Return the lists of a nested column by name; a plain list column has one without a name."""
    column = pa.array(nested)
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_struct(column.type):
        return {"": column}
    return {field.name: pc.struct_field(column, field.name) for field in column.type}


def _elements(values: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row of each element, and the elements, NaN where null."""
    elements = pc.list_flatten(values).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return pc.list_parent_indices(values).to_numpy(zero_copy_only=False), elements


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "floor": np.floor,
    "log10": _log10,
    "sind": lambda degrees: np.sin(np.radians(degrees)),
    "isnull": lambda column: column.isna(),
    "number": lambda texts: texts.astype("int64"),
    "length": lambda texts: texts.str.len(),
    "part": lambda texts, first, end: texts.str.slice(int(first), int(end)),
    "ends_with": _ends_with,
    "mjd": _mjd,
    "separation": _separation,
    "healpix": _healpix,
    "count": _count,
    "complete": _complete,
    "ascending": _ascending,
    "smallest": _extreme("min"),
    "largest": _extreme("max"),
}
"""By name; angles are degrees, times are timestamps (UTC)."""
