"""The rows that a night's check looks at: those of the night, and those of other tables that they rest on."""

from __future__ import annotations

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_near
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import arrow_schema

NIGHT = "night"
DIFFERENCES, REFERENCES, SOURCES = "difference_images", "references", "reference_sources"
IMAGES, ALERTS, OBJECTS = "science_images", "alerts", "alert_objects"
CURVES = "difference_lightcurves"
BESIDE = (REFERENCES, SOURCES, OBJECTS, CURVES)
"""Tables without a night of which a night's check looks at rows."""
NEAR_ARCSEC = 2.0
"""Objects farther from every alert of the night are none of its business."""
OF_ALL_NIGHTS = frozenset({"matched_units", "measured_units", "object_pixels", "survey_offsets"})
"""Their night is the newest they are made of: rows of all nights, which `check_catalogs` checks."""
Rows = dict[str, tuple[int, pa.Table]]


def rows_of_night(lakehouse: Lakehouse, night: str, *, without: str) -> Rows:
    """Read the rows of a night, with the version of each table; empty where nothing was ever written.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        YYYYMMDD.
    without : str
        Table that is left out: the results of checks.

    Returns
    -------
    dict
        Name -> (version, rows): all tables that keep a night; references of the fields that were observed;
        sources of references that were subtracted for the first time; objects at the places of alerts and
        their light curves. Rows as stored, with the spatial index where there is one.
    """
    found: Rows = {}
    for table in lakehouse.tables():
        if table.name == without or not keeps_nights(table):
            continue
        version = table.version()
        if version is not None:
            found[table.name] = (version, table.read(stored(table), {NIGHT: night}, version=version))
        else:
            found[table.name] = (0, table.read(stored(table)))
    return found | _beside(lakehouse, found)


def keeps_nights(table: Table) -> bool:
    """Say whether each row of a table is of one night."""
    return NIGHT in table.declaration.names and table.name not in OF_ALL_NIGHTS


def stored(table: Table) -> list[str]:
    """Return the columns of a table as stored, the spatial index first where there is one."""
    return list(arrow_schema(table.declaration).names)


def _beside(lakehouse: Lakehouse, found: Rows) -> Rows:
    images, differences, alerts = (found[name][1] for name in (IMAGES, DIFFERENCES, ALERTS))
    fields = sorted(set(images["field"].to_pylist()) - {0})
    references = lakehouse.table(REFERENCES)
    at_alerts = (lakehouse.table(OBJECTS), lakehouse.table(CURVES))
    places = (alerts["ra"].to_numpy(), alerts["dec"].to_numpy())
    near = {table.name: read_near(table, *places, NEAR_ARCSEC, stored(table)) for table in at_alerts}
    of_fields = references.read(stored(references), {"field": fields})
    tables = {REFERENCES: of_fields, SOURCES: _new_sources(lakehouse, differences)} | near
    return {name: (lakehouse.table(name).version() or 0, tables[name]) for name in BESIDE}


def _new_sources(lakehouse: Lakehouse, differences: pa.Table) -> pa.Table:
    """Return the sources of references that no earlier night has subtracted: they are checked once."""
    table = lakehouse.table(SOURCES)
    if not differences.num_rows:
        return table.read(stored(table), {"rfid": []})
    used = set(zip(differences["rfid"].to_pylist(), differences["rfversion"].to_pylist(), strict=True))
    first = min(differences["obsjd"].to_pylist())
    where = {"rfid": sorted({rfid for rfid, _ in used}), "obsjd": (None, first)}
    earlier = lakehouse.table(DIFFERENCES).read(["rfid", "rfversion", NIGHT], where)
    night = differences[NIGHT][0].as_py()
    known = {(row["rfid"], row["rfversion"]) for row in earlier.to_pylist() if row[NIGHT] != night}
    new = [{"rfid": rfid, "version": version} for rfid, version in sorted(used - known)]
    parts = [table.read(stored(table), where) for where in new]
    return pa.concat_tables(parts) if parts else table.read(stored(table), {"rfid": []})
