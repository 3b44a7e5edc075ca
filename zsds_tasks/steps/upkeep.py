"""Keep the archive tidy: old publications, what killed writers left, derived files that no row names."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.delta import KEPT_DAYS
from zsds_tasks.lakehouse.maintenance import sweep
from zsds_tasks.lakehouse.publish import expire, sweep_unfinished
from zsds_tasks.lakehouse.release_claims import sweep_unfinished_releases

PATH_COLUMN = "path"  # of every table whose rows name a file under the root
MIN_AGE_HOURS = 24.0  # a file is written before its row: only age makes it an orphan


@dataclass(frozen=True)
class UpkeepSummary:
    """What a tidying removed.

    Parameters
    ----------
    publications : int
        Old or unfinished publications.
    releases : int
        That were begun and never finished.
    orphans, temporaries : int
        Derived files without a row, and files a killed writer left.
    bytes_freed : int
        Of the latter two.
    """

    publications: int
    orphans: int
    temporaries: int
    bytes_freed: int
    releases: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class MaintenanceSummary:
    """What came of maintaining the tables.

    Parameters
    ----------
    tables : int
        Looked at.
    compacted : tuple of str
        Of which small files were brought together, or full pixels split.
    vacuumed : int
        Files of old versions that are gone.
    tidied : UpkeepSummary
    """

    tables: int
    compacted: tuple[str, ...]
    vacuumed: int
    tidied: UpkeepSummary

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return asdict(self)


def maintain(lakehouse: Lakehouse, now: dt.datetime) -> MaintenanceSummary:
    """Compact every table, drop what versions older than `KEPT_DAYS` need alone, and tidy.

    Rows stay as they are. Releases are not touched: their publications hold files of their own.

    Parameters
    ----------
    lakehouse : Lakehouse
    now : datetime.datetime
        Aware.

    Raises
    ------
    NothingToDoError
        If there is no table yet.
    TransientError
        If the storage or other writers are in the way of a table; the others and the rest are done.
    """
    tables = [table for table in lakehouse.tables() if table.exists()]
    if not tables:
        raise NothingToDoError("there are no tables yet", remedy="ingest a night first")
    compacted, vacuumed, in_the_way = [], 0, list[TransientError]()
    for table in tables:
        try:
            done = [table.repartition()] if table.declaration.healpix else []
            done.append(table.compact())
            vacuumed += len(table.vacuum(KEPT_DAYS * 24.0))
        except TransientError as error:  # one busy table must not keep the others waiting
            in_the_way.append(error)
        else:
            if any(commit.version is not None for commit in done):
                compacted.append(table.name)
    tidied = tidy(lakehouse, now)
    if in_the_way:
        raise in_the_way[0]
    return MaintenanceSummary(len(tables), tuple(compacted), vacuumed, tidied)


def tidy(lakehouse: Lakehouse, now: dt.datetime, *, keep: int = 3) -> UpkeepSummary:
    """Remove what nothing needs any more; running it again removes nothing.

    Parameters
    ----------
    lakehouse : Lakehouse
        Whose archive.
    now : datetime.datetime
        Aware; what is younger than a day is left alone.
    keep : int
        Publications of each table that stay.
    """
    storage, publications, named = lakehouse.storage, 0, set[str]()
    # First, because an unfinished release keeps its publications.
    releases = sweep_unfinished_releases(storage, older_than_hours=MIN_AGE_HOURS, now=now)
    for table in lakehouse.tables():
        if table.declaration.healpix:
            publications += len(expire(storage, table.name, keep=keep))
            publications += len(
                sweep_unfinished(storage, table.name, older_than_hours=MIN_AGE_HOURS, now=now)
            )
        if PATH_COLUMN in {column.name for column in table.declaration.columns} and table.exists():
            named |= set(table.read([PATH_COLUMN])[PATH_COLUMN].to_pylist())
    swept = sweep(storage, named, older_than_hours=MIN_AGE_HOURS, now=now.timestamp())
    return UpkeepSummary(
        publications, len(swept.orphans), len(swept.temporaries), swept.bytes_freed, len(releases)
    )
