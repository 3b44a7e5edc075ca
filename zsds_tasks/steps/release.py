"""Release what has been published: number, describe and compare it with the release before."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.release_making import make_release
from zsds_tasks.lakehouse.releases import latest_release
from zsds_tasks.settings import Settings


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


def release_tables(
    lakehouse: Lakehouse, settings: Settings, now: dt.datetime, *, title: str | None = None
) -> ReleaseSummary:
    """Make the next release; the latest stays if no row has changed since it.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    now : datetime.datetime
        Aware.
    title : str, optional
        By default that of the configuration.

    Raises
    ------
    NothingToDoError
        If no table over the sky has rows.
    TransientError, ConfigurationError
        See `make_release`.
    """
    before = latest_release(lakehouse.storage)
    made = make_release(lakehouse, settings, title=title, now=now)
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
