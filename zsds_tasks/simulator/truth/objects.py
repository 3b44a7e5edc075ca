"""The truth table `objects`: everything a night could have seen, with the parameters it was made from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.simulator.configuration import SimulatorConfig
from zsds_tasks.simulator.products import Kind
from zsds_tasks.simulator.sky.asteroids import Asteroids
from zsds_tasks.simulator.sky.census import Census, night_census
from zsds_tasks.simulator.sky.identities import Family, family_of
from zsds_tasks.simulator.sky.stars import BANDS
from zsds_tasks.simulator.sky.variables import VariableClass
from zsds_tasks.simulator.world import Night

PLACE = ("ra", "dec", "pmra", "pmdec", "parallax")
ROTATION = ("period_days", "amplitude_mag", "phase")
SHAPE = ("half_light_arcsec", "axis_ratio", "angle_deg", "redshift")
ORBIT = ("a_au", "e", "inclination_deg", "node_deg", "perihelion_deg", "anomaly_deg", "epoch_mjd")
NUMBERS = (*PLACE, *BANDS, *ROTATION, *SHAPE, "peak_mjd", "stretch", *ORBIT, "h_mag", "g_slope")
OBJECT_SCHEMA = pa.schema(
    [
        pa.field("object_id", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("host_id", pa.int64()),
        pa.field("is_known", pa.bool_()),
        *(pa.field(name, pa.float64()) for name in NUMBERS),
    ]
)


OBJECT_LIMIT_MAG = 22.0  # of r; fainter objects shine but are not written down


def night_objects(night: Night) -> pa.Table:
    """Return the `objects` of one night: those of its fields, transients and asteroids of its date."""
    census = night_census(night)
    return object_table(night.maker.config, census, night.maker.bodies, OBJECT_LIMIT_MAG)


def object_table(config: SimulatorConfig, census: Census, bodies: Asteroids, limit_mag: float) -> pa.Table:
    """Return one row per object brighter than a limit in r (asteroids: all that could be seen).

    Places of stars are of epoch 2016.0; magnitudes are means (transients: at peak); moving bodies have no
    place, only elements.
    """
    parts = [_stars(census, limit_mag), _galaxies(census, limit_mag)]
    parts += [_events(config, census, limit_mag), _asteroids(bodies)]
    return pa.concat_tables(parts)


def _stars(census: Census, limit_mag: float) -> pa.Table:
    stars, curves = census.stars, census.variability
    varies = np.zeros(len(stars), np.int8)
    varies[curves.row] = curves.kind
    light = {name: np.full(len(stars), np.nan) for name in ROTATION}
    for name, values in light.items():
        values[curves.row] = getattr(curves, name)
    keep = stars.mags[1] < limit_mag
    classes = np.array(["", *(which.name.lower() for which in VariableClass)])[varies[keep]]
    return _rows(
        stars.object_id[keep],
        np.where(varies[keep] > 0, Kind.VARIABLE.name.lower(), Kind.STAR.name.lower()),
        {name: getattr(stars, name)[keep] for name in PLACE}
        | dict(zip(BANDS, stars.mags[:, keep], strict=True))
        | {name: values[keep] for name, values in light.items()},
        classes=classes,
    )


def _galaxies(census: Census, limit_mag: float) -> pa.Table:
    galaxies = census.galaxies.take(census.galaxies.mags[1] < limit_mag)
    return _rows(
        galaxies.object_id,
        np.full(len(galaxies), Kind.GALAXY.name.lower()),
        {n: getattr(galaxies, n) for n in ("ra", "dec", *SHAPE)}
        | dict(zip(BANDS, galaxies.mags, strict=True)),
    )


def _events(config: SimulatorConfig, census: Census, limit_mag: float) -> pa.Table:
    events = census.events.take(census.events.peak_mag < limit_mag)
    kinds = list(config.transients.kinds.items())
    colours = np.array([kind.peak_colour for _, kind in kinds])[events.kind].T
    hosted = events.host_id > 0
    return _rows(
        events.object_id,
        np.where(hosted, Kind.SUPERNOVA.name.lower(), Kind.TRANSIENT.name.lower()),
        {n: getattr(events, n) for n in ("ra", "dec", "peak_mjd", "stretch", "redshift")}
        | dict(zip(BANDS, events.peak_mag + colours, strict=True)),
        classes=np.array([name for name, _ in kinds])[events.kind],
        host_id=pa.array(events.host_id, mask=~hosted),
    )


def _asteroids(bodies: Asteroids) -> pa.Table:
    orbits = bodies.orbits
    return _rows(
        bodies.object_id,
        np.full(len(bodies), Kind.ASTEROID.name.lower()),
        {n: getattr(orbits, n) for n in (*ORBIT, "h_mag", "g_slope")}
        | {"period_days": bodies.period_hours / 24.0, "amplitude_mag": bodies.amplitude_mag}
        | {"phase": bodies.phase},
        classes=np.where(family_of(bodies.object_id) == Family.FAST_ASTEROID, "fast", "belt"),
        is_known=pa.array(bodies.is_known),
    )


def _rows(
    object_id: NDArray[np.int64],
    kind: NDArray[np.str_],
    numbers: Mapping[str, NDArray[np.float64]],
    *,
    classes: NDArray[np.str_] | None = None,
    host_id: pa.Array | None = None,
    is_known: pa.Array | None = None,
) -> pa.Table:
    """Return rows of the table; what is not given, and what is not a number, is null."""
    count = len(object_id)
    given: dict[str, pa.Array] = {
        "object_id": pa.array(object_id),
        "kind": pa.array(kind),
        "class": pa.nulls(count, pa.string()) if classes is None else pa.array(classes, mask=classes == ""),
        "host_id": pa.nulls(count, pa.int64()) if host_id is None else host_id,
        "is_known": pa.nulls(count, pa.bool_()) if is_known is None else is_known,
    }
    for name in NUMBERS:
        values = numbers.get(name)
        given[name] = pa.nulls(count, pa.float64()) if values is None else pa.array(values, from_pandas=True)
    return pa.Table.from_arrays(
        [given[field.name].cast(field.type) for field in OBJECT_SCHEMA], schema=OBJECT_SCHEMA
    )
