"""What we ask of deltalake: open, create, add columns, and commit one exact set of files or nothing.

A commit is a compare-and-swap on the log: it becomes version N + 1 of the version N it was computed from,
or fails with `OvertakenError` and is computed again. No lock is needed, and no lock can be left behind.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import (
    CommitFailedError,
    DeltaError,
    DeltaProtocolError,
    SchemaMismatchError,
    TableNotFoundError,
)
from deltalake.transaction import AddAction, RemoveAction

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import layout
from zsds_tasks.lakehouse.encoding import delta_statistics, encode
from zsds_tasks.lakehouse.storage import translated
from zsds_tasks.products.tables import PARTITION_COLUMNS, TableDeclaration, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from zsds_tasks.lakehouse.snapshot import DataFile
    from zsds_tasks.lakehouse.storage import Storage
    from zsds_tasks.sky.healpix import Pixel

KEPT_DAYS = 30
"""How far back a table can be read at earlier versions, where upkeep vacuums it; releases for ever."""
_PARTITION_FIELDS = [
    pa.field(name, type_, nullable=False)
    for name, type_ in zip(PARTITION_COLUMNS, (pa.int32(), pa.int64(), pa.int64()), strict=True)
]


class OvertakenError(Exception):
    """Another writer committed first; look at the new state and try again."""


@dataclass(frozen=True)
class Location:
    """A table's place and shape."""

    storage: Storage
    folder: str
    """Relative to the storage's root."""
    declaration: TableDeclaration

    @property
    def uri(self) -> str:
        """Where Delta readers find the table."""
        return self.storage.uri(self.folder)


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file that lies in the table's folder and belongs to no version yet."""

    path: str
    """Relative to the table's folder."""
    size: int
    statistics: str
    pixel: Pixel | None


def stored_schema(declaration: TableDeclaration) -> pa.Schema:
    """Return the schema of the Delta table: that of the files, and the partition columns."""
    schema = arrow_schema(declaration)
    return pa.schema([*schema, *_PARTITION_FIELDS]) if declaration.healpix else schema


def open_delta(location: Location, *, version: int | datetime | None = None) -> DeltaTable | None:
    """Open a table at its newest or an older version; None if there is no such table.

    Raises
    ------
    ConfigurationError
        If there is a table, but not the version asked for.
    """
    uri = location.uri
    with translated_delta(uri):
        try:
            table = DeltaTable(uri, storage_options=location.storage.delta_options)
        except TableNotFoundError:
            return None
        if version is not None:
            try:
                table.load_as_version(_version_at(table, version))
            except (DeltaError, ValueError, OverflowError) as error:
                raise ConfigurationError(
                    f"there is no version {version}", subject=uri, remedy="see `zsds table history`"
                ) from error
        return table


def _version_at(table: DeltaTable, version: int | datetime) -> int:
    """Return the version that was newest at a moment, by the commits' own clocks.

    deltalake goes by the times of the log's files, which a copy changes and S3 rounds to seconds.
    """
    if isinstance(version, int):
        return version
    moment = version.timestamp() * 1000
    return int(max(entry["version"] for entry in table.history() if entry["timestamp"] <= moment))


def create_delta(location: Location) -> None:
    """Make an empty table; quiet if another writer was faster."""
    uri, declaration = location.uri, location.declaration
    properties = {
        # Statistics of every column: the default stops at the 32nd.
        "delta.dataSkippingNumIndexedCols": "-1",
        "delta.checkpointInterval": "20",
        # Checkpoints forget files removed longer ago, and vacuum then takes them for a crashed writer's.
        "delta.deletedFileRetentionDuration": f"interval {KEPT_DAYS} days",
        # The log tells the moment of each version that can be read.
        "delta.logRetentionDuration": f"interval {2 * KEPT_DAYS} days",
        **table_properties(declaration),
    }
    path = location.storage.local_path_or_none(location.folder)
    with translated_delta(uri):
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                uri,
                stored_schema(declaration),
                mode="error",
                partition_by=list(PARTITION_COLUMNS) if declaration.healpix else None,
                name=declaration.table,
                description=declaration.description,
                configuration=properties,
                storage_options=location.storage.delta_options,
                raise_if_key_not_exists=False,
            )
        except DeltaError:
            if open_delta(location) is None:
                raise


def log_file(location: Location, version: int) -> str:
    """Return where the log keeps a version, relative to the storage's root."""
    return f"{location.folder}/_delta_log/{version:020d}.json"


def table_properties(declaration: TableDeclaration) -> dict[str, str]:
    """Return what a table remembers of its declaration besides the columns: key and position."""
    partition = declaration.healpix
    return {
        "zsds.key": ",".join(declaration.key),
        "zsds.position": f"{partition.ra},{partition.dec}" if partition else "",
    }


def write_file(location: Location, name: str, rows: pa.Table, pixel: Pixel | None) -> WrittenFile:
    """Store sorted rows as a file of a table's folder, not yet part of any version."""
    path = f"{layout.hats_folder(pixel)}/{name}" if pixel else name
    content = encode(rows)
    location.storage.put_bytes_atomically(memoryview(content), f"{location.folder}/{path}")
    return WrittenFile(path, content.size, delta_statistics(rows), pixel)


def commit(
    table: DeltaTable,
    declaration: TableDeclaration,
    added: list[WrittenFile],
    removed: list[DataFile],
    *,
    facts: dict[str, Any],
    data_change: bool = True,
) -> int:
    """Replace files by files, in one version that directly follows that of `table`.

    Parameters
    ----------
    table : DeltaTable
        As opened; the change was computed from this version.
    declaration : TableDeclaration
    added, removed : list
        Files.
    facts : dict
        Kept in the history of the table.
    data_change : bool
        False when the same rows are only laid out anew.

    Returns
    -------
    int
        The new version.

    Raises
    ------
    OvertakenError
        If another writer made the next version first.
    """
    now = int(time.time() * 1000)
    actions = [
        RemoveAction(
            path=file.path,
            data_change=data_change,
            deletion_timestamp=now,
            size=file.size,
            partition_values=_partition_values(file.pixel),
        )
        for file in removed
    ] + [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values=_partition_values(file.pixel),
            modification_time=now,
            data_change=data_change,
            stats=file.statistics,
        )
        for file in added
    ]
    base = table.version()
    with translated_delta(table.table_uri), overtaken():
        table.create_write_transaction(
            actions,
            "append",
            stored_schema(declaration),
            partition_by=list(PARTITION_COLUMNS) if declaration.healpix else None,
            # No second try inside deltalake: it would only look for conflicts among files, not among keys.
            commit_properties=CommitProperties(max_commit_retries=0, custom_metadata={"zsds": facts}),
        )
    return int(base) + 1


def _partition_values(pixel: Pixel | None) -> dict[str, str | None]:
    if pixel is None:
        return {}
    values = (pixel.order, layout.hats_directory(pixel), pixel.number)
    return {name: str(value) for name, value in zip(PARTITION_COLUMNS, values, strict=True)}


@contextmanager
def overtaken() -> Iterator[None]:
    """Turn a lost race for the next version into `OvertakenError`."""
    try:
        yield
    except CommitFailedError as error:
        raise OvertakenError(str(error)) from error


@contextmanager
def translated_delta(subject: str) -> Iterator[None]:
    """Turn deltalake's failures inside the block into our errors, naming `subject`."""
    try:
        with translated(subject):
            yield
    except (DeltaProtocolError, SchemaMismatchError) as error:
        raise ConfigurationError(
            f"deltalake cannot work on this table: {error}",
            subject=subject,
            remedy="look at what else writes here; only zsds_tasks.lakehouse may",
        ) from error
    except (CommitFailedError, TableNotFoundError):
        raise
    except DeltaError as error:
        raise TransientError(
            f"deltalake failed: {error}", subject=subject, remedy="look at the storage; the work is retried"
        ) from error
