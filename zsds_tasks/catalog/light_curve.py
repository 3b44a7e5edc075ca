"""A light curve: the epochs of one star in one filter, field and channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.nested import lists_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from zsds_tasks.catalog.source import Integers
    from zsds_tasks.science.variability.curves import LightCurves

NESTED = "lightcurve"
"""The column that holds the epochs."""
EPOCHS = ("hmjd", "mag", "magerr", "clrcoeff", "catflags")


@dataclass(frozen=True)
class LightCurve:
    """One light curve, epochs in order of time.

    Parameters
    ----------
    objectid : int
    filter : str
        Its name: g, r, i.
    filterid, fieldid, rcid : int
        Filter number, field of the grid, readout channel.
    ra, dec : float
        Of the star (ICRS), degrees.
    hmjd : numpy.ndarray (E), float64
        Heliocentric Modified Julian Date of the middle of the exposure, days.
    mag, magerr : numpy.ndarray (E), float32
        PSF magnitude and its error.
    clrcoeff : numpy.ndarray (E), float32
        Colour coefficient of the image: add clrcoeff times the star's colour.
    catflags : numpy.ndarray (E), int32
        0: good; from 32768 the image is not to be used.
    """

    objectid: int
    filter: str
    filterid: int
    fieldid: int
    rcid: int
    ra: float
    dec: float
    hmjd: NDArray[np.float64]
    mag: NDArray[np.float32]
    magerr: NDArray[np.float32]
    clrcoeff: NDArray[np.float32]
    catflags: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.hmjd)

    @property
    def is_clean(self) -> NDArray[np.bool_]:
        """Which epochs are good (E): no flag, finite, an error above 0."""
        finite = np.isfinite(self.hmjd) & np.isfinite(self.mag) & np.isfinite(self.magerr)
        clean: NDArray[np.bool_] = (self.catflags == 0) & finite & (self.magerr > 0)
        return clean

    def clean(self) -> LightCurve:
        """Return the light curve of the good epochs alone."""
        return self._of(self.is_clean)

    def fold(self, period: float, zero: float = 0.0) -> NDArray[np.float64]:
        """Return the phase of each epoch.

        Parameters
        ----------
        period : float
            Days.
        zero : float
            A moment of phase 0, HMJD.

        Returns
        -------
        numpy.ndarray (E), float64
            From 0 up to 1.

        Raises
        ------
        UnusableInputError
            If the period is not above 0.
        """
        check_period(period, self.objectid)
        # The remainder of a tiny negative number rounds to 1.
        return np.mod((self.hmjd - zero) / period, 1.0) % 1.0

    def plot(self, path: str | Path | None = None, period: float | None = None) -> Figure:
        """Draw the light curve, brighter up; see `zsds_tasks.catalog.plot.plot_light_curves`."""
        from zsds_tasks.catalog.plot import plot_light_curves  # noqa: PLC0415 - matplotlib is slow to import

        return plot_light_curves([self], path, period=period)

    def to_arrow(self) -> pa.Table:
        """Return one row per epoch."""
        return pa.table({name: getattr(self, name) for name in EPOCHS})

    def _of(self, chosen: NDArray[np.bool_] | Integers) -> LightCurve:
        return replace(self, **{name: getattr(self, name)[chosen] for name in EPOCHS})


COLUMNS = ("objectid", "filterid", "fieldid", "rcid", "objra", "objdec", NESTED)
"""Of table ``lightcurves``: what a `LightCurve` is made of."""


def light_curves_of(rows: pa.Table, filters: Mapping[int, str]) -> list[LightCurve]:
    """Return rows of table ``lightcurves``, with `COLUMNS`, as light curves.

    Parameters
    ----------
    rows : pyarrow.Table
    filters : mapping of int to str
        Names of filters by number.

    Returns
    -------
    list of LightCurve
    """
    facts = rows.select(COLUMNS[:-1]).to_pylist()
    lists = {name: lists_of(rows, NESTED, name) for name in EPOCHS}
    curves = []
    for number, fact in enumerate(facts):
        epochs: dict[str, Any] = {name: _values(lists[name], number) for name in EPOCHS}
        named = {"ra": fact.pop("objra"), "dec": fact.pop("objdec")}
        named["filter"] = filters.get(fact["filterid"], f"filter {fact['filterid']}")
        curves.append(LightCurve(**fact, **named, **epochs))
    return curves


def _values(lists: pa.ListArray, row: int) -> NDArray[Any]:
    return np.array(lists[row].values.to_numpy(zero_copy_only=False))


def flat_curves(rows: pa.Table) -> LightCurves:
    """Return rows with the column ``lightcurve`` as flat arrays, for statistics of whole partitions.

    Parameters
    ----------
    rows : pyarrow.Table
        N rows.

    Returns
    -------
    zsds_tasks.science.variability.curves.LightCurves
        N objects, in the order of the rows.
    """
    from zsds_tasks.science.variability.curves import LightCurves  # noqa: PLC0415 - numba is slow to import

    return LightCurves.of_rows(rows)


def period_of(curves: Sequence[LightCurve]) -> float | None:
    """Find the period of a star from all its light curves; None if they hold too little for one.

    Parameters
    ----------
    curves : sequence of LightCurve
        Of one star.

    Returns
    -------
    float or None
        Days; see ``docs/variability.md``.
    """
    from zsds_tasks.science.variability.curves import LightCurves  # noqa: PLC0415 - numba is slow to import
    from zsds_tasks.science.variability.periods import find_periods  # noqa: PLC0415 - the same

    if not curves:
        return None
    joined = {name: np.concatenate([getattr(curve, name) for curve in curves]) for name in EPOCHS}
    flat = LightCurves(
        mjd=joined["hmjd"],
        mag=joined["mag"],
        magerr=joined["magerr"],
        flags=joined["catflags"],
        offsets=np.array([0, len(joined["hmjd"])]),
    )
    bands = np.concatenate([np.full(len(curve), curve.filterid) for curve in curves])
    found = float(find_periods(flat, bands).period[0])
    return found if np.isfinite(found) else None


def check_period(period: float, subject: object) -> None:
    """Refuse a period that is none.

    Raises
    ------
    UnusableInputError
    """
    if not (np.isfinite(period) and period > 0):
        raise UnusableInputError(f"{period} is no period", subject=str(subject), remedy="give days, above 0")
