"""Where the rows of a table come from: a HATS publication, a single Parquet file, or the live Delta table."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks.catalog.source import Integers, Source, single_ranges
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.predicates import conditions_of
from zsds_tasks.products.tables import INDEX_COLUMN, arrow_schema
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    import pyarrow.fs as pafs

    from zsds_tasks.lakehouse import Table
    from zsds_tasks.lakehouse.snapshot import DataFile, Snapshot
    from zsds_tasks.settings import Settings


class Published(Source):
    """A HATS publication; it never changes.

    Parameters
    ----------
    name : str
    uri : str
        Of the collection.
    settings : Settings
    """

    def __init__(self, name: str, uri: str, settings: Settings) -> None:
        super().__init__(name, uri)
        self._reader = HatsReader(uri, settings)

    @property
    def rows(self) -> int:  # noqa: D102 - the base class says it
        return self._reader.rows

    @property
    def schema(self) -> pa.Schema:  # noqa: D102
        return self._reader.schema

    @property
    def position(self) -> tuple[str, str]:  # noqa: D102
        properties = self._reader.properties
        return properties["hats_col_ra"], properties["hats_col_dec"]

    @property
    def filesystem(self) -> pafs.FileSystem:  # noqa: D102
        return self._reader.filesystem

    @property
    def is_published(self) -> bool:  # noqa: D102
        return True

    @cached_property
    def _bounds(self) -> Integers:
        pairs = [(pixel.first, pixel.end - 1) for pixel in self._reader.pixels]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def files(self, ranges: Integers | None = None) -> list[str]:  # noqa: D102
        pixels = self._reader.pixels
        if ranges is not None:
            touched = healpix.overlaps_ranges(self._bounds[:, 0], self._bounds[:, 1], ranges)
            pixels = tuple(pixels[number] for number in np.flatnonzero(touched))
        return [path for pixel in pixels for path in self._reader.files(pixel)]

    @cached_property
    def _indexes(self) -> dict[str, list[str]]:
        return {}

    def files_of(self, column: str, ids: Integers) -> tuple[list[str], str, Integers]:  # noqa: D102
        if column not in self._indexes:
            self._indexes[column] = self._reader.id_index(column)
        index = self._indexes[column]
        wanted = single_ranges(ids)
        if not index:
            return self.files(), column, wanted
        columns = pa.schema([(column, pa.int64()), (INDEX_COLUMN, pa.int64())])
        found = self.groups.each(index, column, wanted, columns)
        cells = single_ranges(found.column(INDEX_COLUMN).to_numpy())
        return self.files(cells), INDEX_COLUMN, cells


class SingleFile(Source):
    """A table without positions, as a release keeps it: one Parquet file.

    Parameters
    ----------
    name : str
    uri : str
    settings : Settings
    """

    def __init__(self, name: str, uri: str, settings: Settings) -> None:
        super().__init__(name, uri)
        folder, _, self._file = uri.rpartition("/")
        self._folder = open_storage(folder, settings)

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        return pq.read_metadata(self.files()[0], filesystem=self.filesystem)

    @property
    def rows(self) -> int:  # noqa: D102
        return int(self._metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:  # noqa: D102
        return self._metadata.schema.to_arrow_schema()

    @property
    def position(self) -> None:  # noqa: D102
        return None

    @property
    def filesystem(self) -> pafs.FileSystem:  # noqa: D102
        return self._folder.arrow()[0]

    def files(self, ranges: Integers | None = None) -> list[str]:  # noqa: ARG002, D102 - no place, no ranges
        return [self._folder.arrow()[1] + self._file]

    def files_of(self, column: str, ids: Integers) -> tuple[list[str], str, Integers]:  # noqa: D102
        return self.files(), column, single_ranges(ids)


class Live(Source):
    """The newest version of a Delta table when it was opened.

    Parameters
    ----------
    table : Table
        Of the lakehouse.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table.name, table.uri)
        self._declaration = table.declaration
        snapshot = table.snapshot()
        if snapshot is None:
            raise ConfigurationError("nothing was ever written", subject=table.uri, remedy="run the pipeline")
        self._snapshot: Snapshot = snapshot

    @property
    def rows(self) -> int:  # noqa: D102
        return self._snapshot.rows

    @property
    def schema(self) -> pa.Schema:  # noqa: D102
        return arrow_schema(self._declaration)

    @property
    def position(self) -> tuple[str, str] | None:  # noqa: D102
        partition = self._declaration.healpix
        return (partition.ra, partition.dec) if partition else None

    @property
    def filesystem(self) -> pafs.FileSystem:  # noqa: D102
        return self._snapshot.filesystem

    def files(self, ranges: Integers | None = None) -> list[str]:  # noqa: D102
        if ranges is None:
            return self._paths(self._snapshot.files)
        return self._paths(self._snapshot.files_in_ranges(ranges))

    def files_of(self, column: str, ids: Integers) -> tuple[list[str], str, Integers]:  # noqa: D102
        conditions = conditions_of({column: ids.tolist()}, self.schema, subject=self.name)
        return self._paths(self._snapshot.files_that_may_match(conditions)), column, single_ranges(ids)

    def dataset(self) -> ds.Dataset:
        """Return all rows as a pyarrow dataset; columns that older files lack are null."""
        return self._snapshot.dataset(self._snapshot.files)

    def _paths(self, files: list[DataFile]) -> list[str]:
        return [self._snapshot.full_path(file) for file in files]
