"""Rows as files that others read: CSV, Parquet, and VOTable with units, UCDs and descriptions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from zsds_tasks.catalog.light_curve import NESTED as LIGHT_CURVE
from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.products.tables import load_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS = ("csv", "parquet", "votable")
SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".xml": "votable", ".vot": "votable", ".votable": "votable"}
"""Formats by the endings of file names."""
_FACTS = (b"unit", b"ucd", b"description")
_WITHOUT_SIGNED_BYTES = {pa.int8(): pa.int16()}
"""VOTable's bytes have no sign."""


def encode_rows(
    rows: pa.Table, kind: str, *, table: str, include: Path | None = None, about: str = ""
) -> bytes:
    """Return rows in a format.

    Parameters
    ----------
    rows : pyarrow.Table
    kind : str
        One of `FORMATS`. In CSV and VOTable light curves are laid out, one row per epoch, and bytes are
        left out.
    table : str
        Its name.
    include : Path, optional
        Where the declarations are; they tell of the columns inside nested ones.
    about : str
        A sentence for the reader of a VOTable: the release, the question.

    Returns
    -------
    bytes

    Raises
    ------
    UnusableInputError
        If the format is unknown.
    """
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        return bytes(sink.getvalue())
    flat = without_bytes(laid_out(rows, table, include))
    if kind == "csv":
        stream = io.BytesIO()
        pa_csv.write_csv(_without_lists(flat), stream)
        return stream.getvalue()
    if kind == "votable":
        return _votable(flat, table, about)
    raise UnusableInputError("is no format", subject=repr(kind), remedy=f"give one of {', '.join(FORMATS)}")


def laid_out(rows: pa.Table, table: str, include: Path | None = None) -> pa.Table:
    """Return rows without nested columns.

    Light curves are laid out, a row for each epoch, the other columns repeated; of other nested columns
    each inner one becomes a list of its own, ``members_objectid`` for example.
    """
    for nested in [field for field in rows.schema if pa.types.is_struct(field.type)]:
        whole = rows.column(nested.name)
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], nested.type)
        facts = _facts_of_nested(table, nested.name, include)
        rows = rows.drop_columns([nested.name])
        is_curve = nested.name == LIGHT_CURVE
        if is_curve:
            lengths = pc.list_value_length(whole.field(0)).to_numpy(zero_copy_only=False)
            rows = rows.take(pa.array(np.repeat(np.arange(rows.num_rows), lengths)))
        for number, inner in enumerate(nested.type):
            values = whole.field(number).flatten() if is_curve else whole.field(number)
            shown = inner.name if is_curve else f"{nested.name}_{inner.name}"
            rows = rows.append_column(pa.field(shown, values.type, metadata=facts.get(inner.name)), values)
    return rows


def without_bytes(rows: pa.Table) -> pa.Table:
    """Return rows without columns of bytes: pictures and the like, which no text holds."""
    return rows.drop_columns([field.name for field in rows.schema if pa.types.is_binary(field.type)])


def _facts_of_nested(table: str, column: str, include: Path | None) -> dict[str, dict[str, str]]:
    """Return unit, UCD and description of the columns inside a nested one, as declared."""
    try:
        declared = load_table(table, include).column(column).columns
    except (ConfigurationError, KeyError):
        return {}
    return {one.name: {"unit": one.unit, "ucd": one.ucd, "description": one.description} for one in declared}


def _without_lists(rows: pa.Table) -> pa.Table:
    for place, field in enumerate(rows.schema):
        if pa.types.is_list(field.type):
            texts = [
                None if one is None else " ".join(map(str, one)) for one in rows.column(place).to_pylist()
            ]
            rows = rows.set_column(place, field.name, pa.array(texts, pa.string()))
    return rows


def _votable(rows: pa.Table, name: str, about: str) -> bytes:
    from astropy.io.votable import from_table  # noqa: PLC0415 - half a second
    from astropy.table import Table  # noqa: PLC0415 - the same

    made = Table()
    for field, column in zip(rows.schema, rows.columns, strict=True):
        unit, ucd, description = ((field.metadata or {}).get(fact, b"").decode() for fact in _FACTS)
        made[field.name] = _astropy_column(column, field)
        made[field.name].unit = unit or None
        made[field.name].description = description or None
        if ucd:
            made[field.name].meta["ucd"] = ucd
        if pa.types.is_timestamp(field.type):
            made[field.name].meta["xtype"] = "timestamp"
    file = from_table(made, table_id=name)
    file.description = about or None
    file.get_first_table().name = name
    stream = io.BytesIO()
    file.to_xml(stream)
    return stream.getvalue()


def _cells(column: pa.ChunkedArray, inner: pa.DataType) -> NDArray[Any]:
    element = _WITHOUT_SIGNED_BYTES.get(inner, inner).to_pandas_dtype()
    if not len(column):  # the writer looks at the first cell
        return np.empty(0, element)
    if not len(pc.list_flatten(column)):  # and at numbers, of which there are none
        return np.full(len(column), "")
    cells = np.empty(len(column), object)
    cells[:] = [np.array([] if one is None else one, element) for one in column.to_pylist()]
    return cells


def _astropy_column(column: pa.ChunkedArray, field: pa.Field) -> Any:
    """Return a column as astropy's VOTable writer takes it."""
    from astropy.table import MaskedColumn  # noqa: PLC0415 - half a second

    mask = column.is_null().to_numpy()
    kind = field.type
    if pa.types.is_list(kind):
        if pa.types.is_string(kind.value_type):  # VOTable has no lists of texts
            return MaskedColumn(np.array([" ".join(one or ()) for one in column.to_pylist()], str), mask=mask)
        return MaskedColumn(_cells(column, kind.value_type))
    if pa.types.is_timestamp(kind):
        words = pc.strftime(column, format="%Y-%m-%dT%H:%M:%S").to_pylist()
        return MaskedColumn(np.array([word or "" for word in words], str), mask=mask)
    if pa.types.is_string(kind):
        return MaskedColumn(np.array([word or "" for word in column.to_pylist()], str), mask=mask)
    kind = _WITHOUT_SIGNED_BYTES.get(kind, kind)
    if pa.types.is_floating(kind):
        return MaskedColumn(pc.fill_null(column, float("nan")).to_numpy())
    zero = pa.scalar(0).cast(kind)
    return MaskedColumn(pc.fill_null(column.cast(kind), zero).to_numpy(), mask=mask)
