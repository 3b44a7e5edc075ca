"""The live files of one version of a table: what they hold, which of them a question touches, their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from zsds_tasks.lakehouse.delta import translated_delta
from zsds_tasks.lakehouse.predicates import Condition, expression_of
from zsds_tasks.products.tables import (
    INDEX_COLUMN,
    PARTITION_COLUMNS,
    arrow_schema,
)
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.fs as pafs
    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from zsds_tasks.lakehouse.delta import Location


@dataclass(frozen=True)
class DataFile:
    """One live file."""

    path: str
    """Relative to the table's folder."""
    size: int
    rows: int
    pixel: Pixel | None


class Snapshot:
    """One version of a table.

    Parameters
    ----------
    location : Location
    table : DeltaTable
        Opened at the version.
    """

    def __init__(self, location: Location, table: DeltaTable) -> None:
        self._location = location
        self.version = int(table.version())
        with translated_delta(location.uri):
            self._actions = pa.table(table.get_add_actions(flatten=True))

    @cached_property
    def files(self) -> list[DataFile]:
        """All live files, in the order of the sky, then of their paths' order in the log."""
        names = ["path", "size_bytes", "num_records"]
        columns = [self._actions.column(name).to_pylist() for name in names]
        pixels: list[Pixel | None] = [None] * len(columns[0])
        if self._location.declaration.healpix:
            order, _, number = (
                self._actions.column(f"partition.{name}").to_pylist() for name in PARTITION_COLUMNS
            )
            pixels = [Pixel(*pair) for pair in zip(order, number, strict=True)]
        return [DataFile(*facts) for facts in zip(*columns, pixels, strict=True)]

    @property
    def rows(self) -> int:
        """Rows in all live files."""
        return sum(file.rows for file in self.files)

    def pixels(self) -> dict[Pixel, list[DataFile]]:
        """Return the files of each pixel, in the order of the sky; empty for a table without pixels."""
        grouped: dict[Pixel, list[DataFile]] = {}
        for file in self.files:
            if file.pixel is not None:
                grouped.setdefault(file.pixel, []).append(file)
        return dict(sorted(grouped.items(), key=lambda item: item[0].first))

    def files_that_may_match(self, conditions: Sequence[Condition]) -> list[DataFile]:
        """Return the files whose statistics do not rule out a row that meets all conditions."""
        possible = np.ones(len(self.files), dtype=bool)
        for condition in conditions:
            smallest, largest = (self._extreme(end, condition.column) for end in ("min", "max"))
            if smallest is not None and largest is not None:
                possible &= condition.may_match(smallest, largest)
        return [self.files[number] for number in np.flatnonzero(possible)]

    def files_in_ranges(self, ranges: healpix.Integers) -> list[DataFile]:
        """Return the files that may hold rows in ranges (R, 2) of the order-29 index."""
        smallest, largest = (self._extreme(end, INDEX_COLUMN) for end in ("min", "max"))
        if smallest is None or largest is None:
            return list(self.files)
        possible: NDArray[np.bool_] = healpix.overlaps_ranges(
            smallest.fill_null(0).to_numpy(), largest.fill_null(healpix.SKY_RANGE).to_numpy(), ranges
        )
        return [self.files[number] for number in np.flatnonzero(possible)]

    def largest_by_file(self, column: str) -> dict[str, Any]:
        """Return the largest value of a column in each file, by path; None where that is not known."""
        values = self._extreme("max", column)
        largest = [None] * len(self.files) if values is None else values.to_pylist()
        return {file.path: value for file, value in zip(self.files, largest, strict=True)}

    def _extreme(self, end: str, column: str) -> pa.ChunkedArray | None:
        name = f"{end}.{column}"
        return self._actions.column(name) if name in self._actions.schema.names else None

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The file system that `full_path` belongs to."""
        return self._location.storage.arrow()[0]

    def full_path(self, file: DataFile) -> str:
        """Return where a file lies, for `filesystem`."""
        return self._location.storage.arrow()[1] + self.path(file)

    def path(self, file: DataFile) -> str:
        """Return where a file lies, relative to the storage's root."""
        return f"{self._location.folder}/{file.path}"

    def dataset(self, files: Sequence[DataFile]) -> ds.Dataset:
        """Return files as one dataset in the declared schema; columns they lack read as null."""
        parquet = ds.ParquetFileFormat()
        filesystem = self.filesystem
        # Fragment by fragment: sizes are known from the log, so that no file is asked for its own.
        fragments = [
            parquet.make_fragment(self.full_path(file), filesystem=filesystem, file_size=file.size)
            for file in files
        ]
        schema = arrow_schema(self._location.declaration)
        return ds.FileSystemDataset(fragments, schema, parquet, filesystem)

    def load(
        self,
        files: Sequence[DataFile],
        columns: Sequence[str] | None = None,
        conditions: tuple[Condition, ...] = (),
    ) -> pa.Table:
        """Read rows of files.

        Parameters
        ----------
        files : sequence of DataFile
        columns : sequence of str, optional
            By default all as stored, with the spatial index.
        conditions : tuple of Condition
            Rows that meet them.

        Returns
        -------
        pyarrow.Table
            In the declared types.
        """
        schema = arrow_schema(self._location.declaration)
        names = list(columns) if columns is not None else schema.names
        wanted = pa.schema([schema.field(name) for name in names])
        if not files:
            return wanted.empty_table()
        with translated_delta(self._location.uri):
            found = self.dataset(files).to_table(columns=names, filter=expression_of(conditions))
        return found.cast(wanted)

    def load_keys(
        self, files: Sequence[DataFile], key: Sequence[str], conditions: tuple[Condition, ...]
    ) -> tuple[pa.Table, NDArray[np.int64]]:
        """Read key columns of many files at once.

        Returns
        -------
        pyarrow.Table
            Keys of the rows that meet the conditions.
        numpy.ndarray, int64
            For each of them, which of the files holds it.
        """
        schema = arrow_schema(self._location.declaration)
        if not files:
            return pa.schema([schema.field(name) for name in key]).empty_table(), np.empty(0, np.int64)
        with translated_delta(self._location.uri):
            found = self.dataset(files).to_table(
                columns=[*key, "__filename"], filter=expression_of(conditions)
            )
        numbers = {self.full_path(file): number for number, file in enumerate(files)}
        names = found.column("__filename").combine_chunks().dictionary_encode()
        names = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
        of_name = np.array([numbers[name] for name in names.dictionary.to_pylist()], dtype=np.int64)
        return found.select(list(key)), of_name[names.indices.to_numpy()]
