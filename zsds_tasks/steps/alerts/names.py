"""The register of names: read around an exposure, written by whoever holds the turn."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import largest, read_near
from zsds_tasks.science.naming.allot import Allotment, Detections, NamingConfig, Objects, allot_names
from zsds_tasks.science.naming.grammar import ObjectName
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, from_mjd

OBJECTS, ALERTS = "alert_objects", "alerts"


def name_triggers(lakehouse: Lakehouse, triggers: pa.Table, config: NamingConfig) -> Allotment:
    """Name the candidates of one exposure that trigger, and commit the objects that are new.

    A second run over the exposure, whether this one was killed or not, gives the same names: known objects
    and names are looked at first.

    Parameters
    ----------
    lakehouse : Lakehouse
    triggers : pyarrow.Table (n)
        Of candidates, all of one exposure.
    config : NamingConfig
    """
    jd = float(triggers["jd"][0].as_py())
    places = (triggers["ra"].to_numpy(), triggers["dec"].to_numpy())
    columns = ("objectid", "ra", "dec", "jd")
    near = read_near(lakehouse.table(OBJECTS), *places, 10 * config.radius_arcsec, columns)
    known = Objects(
        tuple(ObjectName.parse(name) for name in near["objectid"].to_pylist()),
        *(near[name].to_numpy() for name in ("ra", "dec", "jd")),
    )
    candids = triggers["candid"].to_pylist()
    there = {"candid": candids}
    named = read_near(lakehouse.table(ALERTS), *places, config.radius_arcsec, ["candid", "objectid"], there)
    detections = Detections(
        triggers["candid"].to_numpy(),
        triggers["ra"].to_numpy(),
        triggers["dec"].to_numpy(),
        jd,
        {row["candid"]: ObjectName.parse(row["objectid"]) for row in named.to_pylist()},
    )
    found = allot_names(known, detections, next_free(lakehouse, year_of(jd)), config)
    if found.founders:
        lakehouse.table(OBJECTS).merge(_rows(found))
    return found


def next_free(lakehouse: Lakehouse, year: int) -> ObjectName:
    """Return the first name of a year that nobody has."""
    highest = largest(lakehouse.table(OBJECTS), "ordinal", {"year": year})
    return ObjectName(year, 0 if highest is None else int(highest) + 1)


def year_of(jd: float) -> int:
    """Return the year (UTC) of a Julian date."""
    return from_mjd(jd - JD_OF_MJD_ZERO).year


def _rows(found: Allotment) -> pa.Table:
    names, created = found.created.names, found.created
    return pa.table(
        {
            "objectid": [str(name) for name in names],
            "year": pa.array([name.year for name in names], pa.int16()),
            "ordinal": pa.array([name.ordinal for name in names], pa.int64()),
            "ra": np.asarray(created.ra),
            "dec": np.asarray(created.dec),
            "jd": np.asarray(created.jd),
            "candid": pa.array(found.founders, pa.int64()),
        }
    )
