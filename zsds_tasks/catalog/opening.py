"""Which release, and where its tables lie: by number, the newest, or the live tables themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zsds_tasks.catalog.source import Source
from zsds_tasks.catalog.sources import Live, Published, SingleFile
from zsds_tasks.errors import ConfigurationError, NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.publish import latest
from zsds_tasks.lakehouse.releases import PUBLIC, latest_release, number_of, read_release

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zsds_tasks.lakehouse.releases import Release
    from zsds_tasks.settings import Settings

LIVE = "live"
PUBLICATIONS = "publications"


@dataclass(frozen=True)
class Found:
    """A release that was found.

    Parameters
    ----------
    name : str
        ``dr<N>``, `LIVE` or `PUBLICATIONS`.
    number : int or None
        None for `LIVE` and `PUBLICATIONS`.
    makers : mapping of str to callable
        What opens each table, by name.
    warning : str
        Why it should not be used, if it was withdrawn.
    """

    name: str
    number: int | None
    makers: Mapping[str, Callable[[], Source]]
    warning: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)


def find(release: int | str | None, settings: Settings) -> Found:
    """Find a release.

    Parameters
    ----------
    release : int, str or None
        A number, ``dr<N>``, ``live`` for the tables as they are now, ``publications`` for the newest
        publication of each table; None for the newest release, or publications if there is none.
    settings : Settings

    Returns
    -------
    Found

    Raises
    ------
    UnusableInputError
        If there is no such release.
    NothingToDoError
        If nothing was ever published.
    """
    lakehouse = open_lakehouse(settings)
    if release == LIVE:
        return _live(lakehouse)
    if release == PUBLICATIONS:
        return _publications(lakehouse, settings)
    if release is None:
        newest = latest_release(lakehouse.storage)
        return _released(newest, settings) if newest else _publications(lakehouse, settings)
    return _released(read_release(lakehouse.storage, _number(release)), settings)


def _number(release: int | str) -> int:
    word = str(release).strip().lower()
    if word.isdecimal() and int(word) > 0:
        return int(word)
    try:
        return number_of(word)
    except UnusableInputError as error:
        raise UnusableInputError(
            error.reason, subject=error.subject, remedy=f"give dr1, dr2, ..., {LIVE} or {PUBLICATIONS}"
        ) from None


def _released(release: Release, settings: Settings) -> Found:
    def maker(name: str) -> Callable[[], Source]:
        table = release.tables[name]
        kind = Published if table.kind == "hats" else SingleFile
        return lambda: kind(name, table.uri, settings)

    warning = "" if release.status == PUBLIC else f"{release.name} was withdrawn: {release.reason}"
    rows = {name: table.rows for name, table in release.tables.items()}
    return Found(release.name, release.number, {name: maker(name) for name in release.tables}, warning, rows)


def _publications(lakehouse: Lakehouse, settings: Settings) -> Found:
    found = {table.name: latest(lakehouse.storage, table.name) for table in lakehouse.tables()}
    whole = {name: publication for name, publication in found.items() if publication}
    if not whole:
        raise NothingToDoError(
            "nothing was ever published",
            subject=settings.root_uri,
            remedy="make a release, run `zsds publish`, or open release 'live'",
        )

    def maker(name: str) -> Callable[[], Source]:
        return lambda: Published(name, whole[name].uri, settings)

    rows = {name: publication.rows for name, publication in whole.items()}
    return Found(PUBLICATIONS, None, {name: maker(name) for name in whole}, "", rows)


def _live(lakehouse: Lakehouse) -> Found:
    tables = {table.name: table for table in lakehouse.tables() if table.exists()}
    if not tables:
        raise ConfigurationError(
            "no table was ever written",
            subject=lakehouse.storage.root,
            remedy="check ZSDS_ROOT, or run the pipeline",
        )

    def maker(name: str) -> Callable[[], Source]:
        return lambda: Live(tables[name])

    return Found(LIVE, None, {name: maker(name) for name in tables})
