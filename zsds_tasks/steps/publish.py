"""Publish what the night has changed: a HATS snapshot of every table that is laid out over the sky."""

from __future__ import annotations

from collections.abc import Sequence

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.publish import PublishedCatalog, publish
from zsds_tasks.steps.night_rows import BESIDE, keeps_nights


def publish_night(lakehouse: Lakehouse) -> tuple[PublishedCatalog, ...]:
    """Publish the tables that a night's check looks at; light curves and objects are for releases.

    Those have checks of their own, `zsds_tasks.steps.catalog_checks`, after which a release publishes them.

    Raises
    ------
    NothingToDoError
        If no table is there to publish.
    """
    names = [
        table.name
        for table in lakehouse.tables()
        if table.declaration.healpix and table.exists() and (keeps_nights(table) or table.name in BESIDE)
    ]
    if not names:
        raise NothingToDoError("no table over the sky has rows yet", remedy="ingest a night first")
    return publish_tables(lakehouse, names)


def publish_tables(lakehouse: Lakehouse, names: Sequence[str] = ()) -> tuple[PublishedCatalog, ...]:
    """Publish tables as HATS collections; one whose Delta version is published already is left as it is.

    Parameters
    ----------
    lakehouse : Lakehouse
        Where they are.
    names : sequence of str
        Which; by default every table over the sky that has rows.

    Returns
    -------
    tuple of PublishedCatalog
        One per table, in order of name.

    Raises
    ------
    NothingToDoError
        If no table is there to publish.
    """
    tables = [lakehouse.table(name) for name in names] or [
        table for table in lakehouse.tables() if table.declaration.healpix and table.exists()
    ]
    if not tables:
        raise NothingToDoError("no table over the sky has rows yet", remedy="ingest a night first")
    return tuple(publish(table) for table in tables)
