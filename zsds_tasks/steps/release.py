"""Release what has been published: number, describe and compare it with the release before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.release_config import load_releases_config
from zsds_tasks.lakehouse.release_making import make_release
from zsds_tasks.lakehouse.release_tables import UncheckedError
from zsds_tasks.lakehouse.releases import Release, latest_release
from zsds_tasks.settings import Settings

_ATTEMPTS = 3


@dataclass(frozen=True)
class ReleaseSummary:
    """What came of making a release.

    Parameters
    ----------
    release : str
        Its name, ``dr<N>``.
    is_new : bool
        Whether it was made now; False if no row has changed since it.
    title : str
    rows : dict of str to int
        By table.
    left_out : dict of str to str
        Tables that have no rows yet, with the reason.
    first_night, last_night : str
        Of its images, YYYYMMDD; empty if none are known.
    previous : str
        The release it is compared with; empty for the first.
    uri : str
        Its folder.
    """

    release: str
    is_new: bool
    title: str
    rows: dict[str, int]
    left_out: dict[str, str]
    first_night: str
    last_night: str
    previous: str
    uri: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return asdict(self)


def compact_tables(lakehouse: Lakehouse, settings: Settings) -> None:
    """Put what releases are made of in order, so that publishing it after its checks makes no other files."""
    for name in load_releases_config(settings.include).tables:
        table = lakehouse.table(name)
        if table.declaration.healpix is not None and table.exists():
            table.repartition()
            table.compact()


def release_tables(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    *,
    title: str | None = None,
    checked: Mapping[str, int | None] | None = None,
) -> ReleaseSummary:
    """Make the next release; the latest stays if no row has changed since it.

    What has changed since it was checked, by light curves of the night perhaps, is checked again.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    now : datetime.datetime
        Aware.
    title : str, optional
        By default that of the configuration.
    checked : mapping of str to int or None, optional
        Delta versions that were checked, see `check_catalogs`; what they do not name is released as it is.

    Raises
    ------
    NothingToDoError
        If no table over the sky has rows.
    UnusableInputError
        If a check that is made again finds what is critical.
    TransientError, ConfigurationError
        See `make_release`.
    """
    before = latest_release(lakehouse.storage)
    made = _made(lakehouse, settings, now, title, checked)
    return ReleaseSummary(
        release=made.name,
        is_new=before is None or made.number != before.number,
        title=made.title,
        rows={name: table.rows for name, table in made.tables.items()},
        left_out=dict(made.left_out),
        first_night=made.first_night,
        last_night=made.last_night,
        previous=f"dr{made.previous}" if made.previous else "",
        uri=made.uri,
    )


def _made(
    lakehouse: Lakehouse,
    settings: Settings,
    now: dt.datetime,
    title: str | None,
    checked: Mapping[str, int | None] | None,
) -> Release:
    for _ in range(_ATTEMPTS - 1):
        try:
            return make_release(lakehouse, settings, title=title, now=now, checked=checked)
        except UncheckedError:
            from zsds_tasks.steps.catalog_checks import check_catalogs  # noqa: PLC0415 - slow, rarely needed

            compact_tables(lakehouse, settings)
            checked = check_catalogs(lakehouse, settings=settings).versions
    return make_release(lakehouse, settings, title=title, now=now, checked=checked)
