"""A table of a release, wherever it comes from: a schema, files, and a way from an identifier to a place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from zsds_tasks.catalog.row_groups import RowGroups
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.tables import INDEX_COLUMN
from zsds_tasks.sky import healpix

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.fs as pafs

Integers = healpix.Integers


@dataclass(frozen=True)
class Partition:
    """One file of a table, to be read where there is room: it may be sent to another process.

    Parameters
    ----------
    path : str
    filesystem : pyarrow.fs.FileSystem
    columns : tuple of str
    """

    path: str
    filesystem: pafs.FileSystem
    columns: tuple[str, ...]

    def read(self) -> pa.Table:
        """Return its rows."""
        with pq.ParquetFile(self.path, filesystem=self.filesystem) as file:
            return file.read(list(self.columns), use_threads=False).select(list(self.columns))


class Source(ABC):
    """One table of a release.

    Parameters
    ----------
    name : str
    uri : str
        What other tools open.
    """

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self.uri = uri

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many it holds."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Columns of the files, with unit, ucd and description as metadata."""

    @property
    @abstractmethod
    def position(self) -> tuple[str, str] | None:
        """The columns of right ascension and declination; None for a table without a place."""

    @property
    @abstractmethod
    def filesystem(self) -> pafs.FileSystem:
        """Where `files` lie."""

    @abstractmethod
    def files(self, ranges: Integers | None = None) -> list[str]:
        """Return the files that may hold rows in ranges of the spatial index, by default all."""

    @abstractmethod
    def files_of(self, column: str, ids: Integers) -> tuple[list[str], str, Integers]:
        """Say where to look for identifiers.

        Returns
        -------
        list of str
            Files.
        str
            A column of theirs.
        numpy.ndarray (R, 2), int64
            Ranges of that column outside of which there are none.
        """

    @property
    def is_published(self) -> bool:
        """Whether HATS readers can open `uri`."""
        return False

    @property
    def names(self) -> list[str]:
        """The columns, without the spatial index."""
        return [name for name in self.schema.names if name != INDEX_COLUMN]

    @cached_property
    def groups(self) -> RowGroups:
        """The reader of its files."""
        return RowGroups(self.filesystem, self.name)

    def dataset(self) -> ds.Dataset:
        """Return all rows as a pyarrow dataset."""
        return ds.dataset(
            self.files(), schema=self.schema, format="parquet", filesystem=self.filesystem, partitioning=None
        )

    def partitions(self, columns: Sequence[str] | None = None) -> list[Partition]:
        """Return the files of the table, in the order of the sky."""
        names = tuple(self.known(columns))
        return [Partition(path, self.filesystem, names) for path in self.files()]

    def known(self, columns: Sequence[str] | None) -> list[str]:
        """Return columns that were asked for, by default all.

        Raises
        ------
        UnusableInputError
            If one is unknown.
        """
        if columns is None:
            return self.names
        columns = [columns] if isinstance(columns, str) else columns
        unknown = [name for name in columns if name not in self.schema.names]
        if unknown:
            raise UnusableInputError(
                f"unknown column {', '.join(unknown)}",
                subject=self.name,
                remedy=f"give a list out of {', '.join(self.names)}",
            )
        return list(dict.fromkeys(columns))


def single_ranges(values: Integers) -> Integers:
    """Return integers as sorted disjoint half-open ranges (R, 2)."""
    distinct = np.unique(np.asarray(values, np.int64))
    return healpix.merge_ranges(np.stack([distinct, distinct + 1], axis=1))
