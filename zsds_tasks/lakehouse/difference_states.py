"""States of a table to compare: a Delta version, or what a release shows. Files, their schema, their rows."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import delta, hats, paths
from zsds_tasks.lakehouse.releases import Release, ReleasedTable, number_of, read_release, table_path
from zsds_tasks.lakehouse.snapshot import Snapshot
from zsds_tasks.lakehouse.storage import translated
from zsds_tasks.products.tables import INDEX_COLUMN, PARTITION_COLUMNS, arrow_schema
from zsds_tasks.sky.healpix import Pixel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.fs as pafs

    from zsds_tasks.lakehouse.lakehouse import Lakehouse
    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.lakehouse.tables import Table


@dataclass(frozen=True)
class StateFile:
    """One Parquet file of a state."""

    path: str
    """For the file system of the state."""
    identity: str
    """Name of the file of the Delta table whose content it has; empty if it has none."""
    rows: int
    pixel: Pixel | None


@dataclass(frozen=True)
class TableState:
    """A table as it was."""

    table: str
    label: str
    """``version 12`` or ``dr1``."""
    moment: datetime | None
    """When it was so; None for now."""
    schema: pa.Schema
    """Without the spatial index, which follows from the position."""
    files: tuple[StateFile, ...]
    filesystem: pafs.FileSystem | None
    release: Release | None = None

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    def read(
        self,
        files: Sequence[StateFile],
        columns: Sequence[str] | None = None,
        where: ds.Expression | None = None,
    ) -> pa.Table:
        """Read rows of files; by default all columns and rows.

        Raises
        ------
        UnusableInputError
            If a file is gone: vacuumed, or expired with a publication that no release names.
        """
        names = list(columns) if columns is not None else self.schema.names
        wanted = pa.schema([self.schema.field(name) for name in names])
        if not files:
            return wanted.empty_table()
        parquet = ds.ParquetFileFormat()
        fragments = [parquet.make_fragment(file.path, filesystem=self.filesystem) for file in files]
        dataset = ds.FileSystemDataset(fragments, self.schema, parquet, self.filesystem)
        try:
            with translated(f"{self.table} {self.label}"):
                return dataset.to_table(columns=names, filter=where).cast(wanted)
        except FileNotFoundError as error:
            raise gone(self.table, self.label) from error


def read_index(state: TableState, file: StateFile) -> NDArray[np.int64]:
    """Return the spatial index of the rows of a file; errors as `TableState.read`."""
    try:
        with translated(f"{state.table} {state.label}"):
            read = pq.read_table(
                file.path, columns=[INDEX_COLUMN], filesystem=state.filesystem, partitioning=None
            )
    except FileNotFoundError as error:
        raise gone(state.table, state.label) from error
    index: NDArray[np.int64] = read.column(INDEX_COLUMN).to_numpy()
    return index


def state_of(lakehouse: Lakehouse, name: str, which: str) -> TableState:
    """Return the state that a word names.

    Parameters
    ----------
    lakehouse : Lakehouse
    name : str
        A declared table.
    which : str
        A Delta version (``12``) or a release (``dr1``).

    Raises
    ------
    UnusableInputError
        If the word is neither, or there is no such release, or it has no such table, or the log no longer
        knows the version.
    ConfigurationError
        If there is no such version, or the table is not declared.
    """
    table = lakehouse.table(name)
    if which.isascii() and which.isdigit():
        return state_at_version(table, int(which))
    return state_in_release(lakehouse.storage, read_release(lakehouse.storage, number_of(which)), name)


def state_at_version(table: Table, version: int) -> TableState:
    """Return a table as it was at a Delta version; errors as `state_of`."""
    opened = delta.open_delta(table.location, version=version)
    if opened is None:
        raise UnusableInputError("nothing was ever written", subject=table.name)
    snapshot = Snapshot(table.location, opened)
    stored = set(pa.schema(opened.schema().to_arrow()).names) - {*PARTITION_COLUMNS, INDEX_COLUMN}
    schema = pa.schema([field for field in arrow_schema(table.declaration) if field.name in stored])
    made = {entry["version"]: entry["time"] for entry in table.history()}
    if version not in made:  # the log forgot when: what the rows were made of cannot be told
        raise gone(table.name, f"version {version}")
    return TableState(
        table=table.name,
        label=f"version {version}",
        moment=made[version],
        schema=schema,
        files=tuple(
            StateFile(snapshot.full_path(file), file.path, file.rows, file.pixel) for file in snapshot.files
        ),
        filesystem=snapshot.filesystem,
    )


def state_in_release(storage: Storage, release: Release, name: str) -> TableState:
    """Return a table as a release shows it.

    Raises
    ------
    UnusableInputError
        If the release has no such table, or was withdrawn and its publication has expired.
    """
    shown = release.tables.get(name)
    if shown is None:
        raise UnusableInputError(
            f"has no table {name}: {release.left_out.get(name, 'it is none of its tables')}",
            subject=release.name,
            remedy=f"it has {', '.join(release.tables)}",
        )
    try:
        files, schema = _files_shown(storage, release, shown)
    except FileNotFoundError as error:
        raise gone(name, release.name) from error
    return TableState(
        table=name,
        label=release.name,
        moment=release.created,
        schema=pa.schema([field for field in schema if field.name != INDEX_COLUMN]),
        files=files,
        filesystem=storage.arrow()[0],
        release=release,
    )


def _files_shown(
    storage: Storage, release: Release, shown: ReleasedTable
) -> tuple[tuple[StateFile, ...], pa.Schema]:
    filesystem, prefix = storage.arrow()
    place = table_path(release.number, shown.name, shown.publication)
    if shown.publication is None:
        with pq.ParquetFile(prefix + place, filesystem=filesystem) as file:
            return (StateFile(prefix + place, shown.content, shown.rows, None),), file.schema_arrow
    catalog = f"{place}/{shown.name}"
    listed = pa_csv.read_csv(io.BytesIO(storage.read_bytes(f"{catalog}/partition_info.csv")))
    metadata = pq.read_metadata(f"{prefix}{catalog}/dataset/_metadata", filesystem=filesystem)
    rows: dict[str, int] = defaultdict(int)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows[f"dataset/{group.column(0).file_path}"] += group.num_rows
    linked = _sources(storage, shown)
    files = []
    for row in listed.to_pylist():
        pixel = Pixel(row["Norder"], row["Npix"])
        leaf = hats.leaf_path(pixel)
        files.append(StateFile(f"{prefix}{catalog}/{leaf}", linked.get(leaf, ""), rows[leaf], pixel))
    return tuple(files), metadata.schema.to_arrow_schema()


def _sources(storage: Storage, shown: ReleasedTable) -> dict[str, str]:
    """Return the Delta file of each leaf; none where an older publication did not note them."""
    try:
        found = storage.read_bytes(paths.publication_sources(shown.name, shown.publication or 0))
    except FileNotFoundError:
        return {}
    return {str(leaf): str(source) for leaf, source in json.loads(found).items()}


def gone(table: str, label: str) -> UnusableInputError:
    """Return the error of a state whose files were removed."""
    return UnusableInputError(
        f"{label} is no longer whole",
        subject=table,
        remedy="vacuum removes files of old versions, upkeep those of withdrawn releases",
    )
