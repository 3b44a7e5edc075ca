"""Id indexes of HATS collections: which pixel, and which cell of it, holds the rows of an identifier.

An index is a small catalogue beside the primary one, sorted by identifier: ``LSDB.id_search`` finds pixels in
it, `zsds_tasks.catalog` by its extra column the row group.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks.lakehouse.encoding import encode
from zsds_tasks.lakehouse.storage import relative_path
from zsds_tasks.products.tables import INDEX_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.sky.healpix import Pixel

MAIN_IDENTIFIER = b"meta.id;meta.main"
"""The UCD of the column that an index is made of."""
ROWS_PER_PART = 16_000_000
"""An index of more rows is several sorted files, so that memory stays below a gigabyte."""


def id_column(schema: pa.Schema) -> str | None:
    """Return the 64-bit integer column that identifies rows, by its UCD; None if there is none."""
    named = [
        field.name
        for field in schema
        if field.type == pa.int64() and (field.metadata or {}).get(b"ucd") == MAIN_IDENTIFIER
    ]
    return named[0] if len(named) == 1 else None


def index_name(name: str, column: str) -> str:
    """Return ``<name>_<column>_index``: the folder of an id index."""
    return f"{name}_{column}_index"


def part_path(number: int) -> str:
    """``dataset/index/part<n>.parquet``: a file of an index."""
    return f"dataset/index/part{number}.parquet"


def write_parts(
    storage: Storage, folder: str, leaves: Iterable[tuple[Pixel, str]], column: str
) -> tuple[int, int]:
    """Write the files of an index, its Parquet metadata included.

    Parameters
    ----------
    storage : Storage
    folder : str
        Of the index.
    leaves : iterable of (Pixel, str)
        Files of the primary catalogue, relative to the storage's root, in the order of the sky.
    column : str
        A column of theirs, int64.

    Returns
    -------
    tuple of int
        Rows, one for each identifier and cell; bytes.
    """
    footers, rows, size = [], 0, 0
    for number, part in enumerate(_parts(storage, leaves, column)):
        content = encode(part)
        storage.put_bytes_atomically(memoryview(content), f"{folder}/{part_path(number)}")
        footer = pq.read_metadata(pa.BufferReader(content))
        footer.set_file_path(part_path(number).removeprefix("dataset/"))
        footers.append(footer)
        rows, size = rows + part.num_rows, size + content.size
    whole = footers[0]
    for footer in footers[1:]:
        whole.append_row_groups(footer)
    sink = io.BytesIO()
    whole.write_metadata_file(sink)
    storage.put_bytes_atomically(sink.getvalue(), f"{folder}/dataset/_metadata")
    sink = io.BytesIO()
    pq.write_metadata(_schema(column), sink)
    storage.put_bytes_atomically(sink.getvalue(), f"{folder}/dataset/_common_metadata")
    return rows, size


def _schema(column: str) -> pa.Schema:
    return pa.schema(
        [(column, pa.int64()), (INDEX_COLUMN, pa.int64()), ("Norder", pa.uint8()), ("Npix", pa.uint64())]
    )


def _parts(storage: Storage, leaves: Iterable[tuple[Pixel, str]], column: str) -> Iterator[pa.Table]:
    """Yield sorted tables of `_schema` of up to about `ROWS_PER_PART` rows; at least one, perhaps empty."""
    filesystem, prefix = storage.arrow()
    gathered: list[tuple[NDArray[np.int64], ...]] = []
    waiting = 0
    any_yet = False
    for pixel, path in leaves:
        with pq.ParquetFile(prefix + relative_path(path), filesystem=filesystem) as file:
            read = file.read([column, INDEX_COLUMN])
        place = (np.full(read.num_rows, value, np.int64) for value in (pixel.order, pixel.number))
        gathered.append((read.column(column).to_numpy(), read.column(INDEX_COLUMN).to_numpy(), *place))
        waiting += read.num_rows
        if waiting >= ROWS_PER_PART:
            yield _sorted(gathered, column)
            gathered, waiting, any_yet = [], 0, True
    if gathered or not any_yet:
        yield _sorted(gathered, column)


def _sorted(gathered: Sequence[tuple[NDArray[np.int64], ...]], column: str) -> pa.Table:
    schema = _schema(column)
    if not gathered:
        return schema.empty_table()
    columns = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
    order = np.argsort(columns[0], kind="stable")  # cells of an identifier stay in the order of the sky
    ids, cells = columns[0][order], columns[1][order]
    order = order[np.concatenate([[True], (np.diff(ids) != 0) | (np.diff(cells) != 0)])]
    return pa.Table.from_arrays(
        [pa.array(values[order]).cast(field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
