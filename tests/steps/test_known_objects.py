"""Known Solar-System objects next to candidates: from a catalogue of orbits to the words of a packet."""

import dataclasses
import datetime as dt
import logging

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.sky import ephemeris
from zsds_tasks.sky.ephemeris import Orbits
from zsds_tasks.sky.horizon import Observer
from zsds_tasks.steps.alerts.known import ELEMENTS, KnownConfig, known_objects
from zsds_tasks.survey.camera import load_camera

NIGHT, JD, EXPTIME = "20251012", 2460960.8125, 30.0
MIDDLE = JD - 2400000.5 + EXPTIME / 2 / 86400
ARCSEC = 1 / 3600


def bodies(n=4000, seed=3):
    random = np.random.default_rng(seed)
    angles = random.uniform(0, 360, (3, n))
    shape = random.uniform(2.1, 3.3, n), random.uniform(0, 0.3, n), random.uniform(0, 25, n)
    return Orbits(np.full(n, 61000.0), *shape, *angles, random.uniform(10, 16, n), np.full(n, 0.15))


@pytest.fixture
def sky(settings):
    """Orbits in a catalogue whose places are of another night, and where they are seen in our exposure."""
    site = load_camera(settings.camera, settings.include).site
    observer = Observer(site.latitude_deg, site.longitude_deg, site.elevation_m)
    orbits = bodies()
    seen = ephemeris.observe(orbits, MIDDLE, observer)
    then = ephemeris.observe(orbits, MIDDLE - 40, observer)
    columns = {name: getattr(orbits, name) for name in ELEMENTS}
    columns |= {"name": [f"K{k:05d}" for k in range(len(orbits))], "ra": then.ra, "dec": then.dec}
    return orbits, seen, pa.table(columns)


def write(settings, table, day=1):
    place = f"{settings.catalogs_uri}/asteroids"
    created = dt.datetime(2025, 10, day, tzinfo=dt.UTC)
    write_catalog("asteroids", table, place, created=created, settings=settings)


def candidates(ra, dec):
    n = len(ra)
    return pa.table({"ra": ra, "dec": dec, "jd": np.full(n, JD), "night": [NIGHT] * n})


def near_field(seen, radius=15.0):
    """Return the numbers of the bodies within some degrees of the vernal point."""
    return np.flatnonzero(np.hypot((seen.ra + 180) % 360 - 180, seen.dec) < radius)


def test_the_nearest_body_is_told_with_distance_magnitude_and_name(settings, sky):
    _, seen, table = sky
    write(settings, table)
    chosen = near_field(seen)
    assert len(chosen) > 20
    offset = np.linspace(0, 40, len(chosen))
    found = known_objects(
        settings, candidates(seen.ra[chosen], seen.dec[chosen] + offset * ARCSEC), EXPTIME, KnownConfig()
    )
    for k, (number, apart) in enumerate(zip(chosen, offset, strict=True)):
        told = [found[name][k].as_py() for name in ("ssdistnr", "ssmagnr", "ssnamenr")]
        if apart > 30:
            assert told == [-999.0, -999.0, "null"]
        else:
            assert told[0] == pytest.approx(apart, abs=0.01)
            assert told[1] == pytest.approx(seen.v_mag[number], abs=1e-3)
            assert told[2] == f"K{number:05d}"


def test_again_from_what_the_night_has_kept(settings, sky):
    _, seen, table = sky
    write(settings, table)
    here = candidates(seen.ra[near_field(seen)], seen.dec[near_field(seen)])
    first = known_objects(settings, here, EXPTIME, KnownConfig())
    (kept,) = (settings.var / "cache" / "asteroids").glob("*.npy")
    assert known_objects(settings, here, EXPTIME, KnownConfig()) == first
    kept.write_bytes(kept.read_bytes()[:100])  # half a file is made anew
    assert known_objects(settings, here, EXPTIME, KnownConfig()) == first


def test_elements_of_a_far_epoch_and_faint_bodies_are_not_used(settings, sky):
    orbits, seen, table = sky
    old = dataclasses.replace(orbits, epoch_mjd=orbits.epoch_mjd + 300.0)
    assert len(old) == len(orbits)
    chosen = near_field(seen)
    here = candidates(seen.ra[chosen], seen.dec[chosen])
    write(settings, table.set_column(0, "epoch_mjd", pa.array(old.epoch_mjd)))
    assert set(known_objects(settings, here, EXPTIME, KnownConfig())["ssnamenr"].to_pylist()) == {"null"}
    write(settings, table, day=2)
    limit = float(np.median(seen.v_mag[chosen]))
    magnitudes = known_objects(settings, here, EXPTIME, KnownConfig(faintest_mag=limit))["ssmagnr"]
    bright = magnitudes.to_numpy() > 0
    assert np.array_equal(bright, seen.v_mag[chosen] <= limit)


def test_without_a_catalogue_nothing_is_known_and_the_log_says_why(settings, caplog):
    with caplog.at_level(logging.WARNING):
        found = known_objects(settings, candidates([1.0], [2.0]), EXPTIME, KnownConfig())
    assert [found[name][0].as_py() for name in found] == [-999.0, -999.0, "null"]
    assert "no catalogue of orbits" in caplog.text


def test_orbits_that_are_no_ellipses_are_left_out(settings, sky, caplog):
    _, seen, table = sky
    number = int(near_field(seen)[0])
    e = table["e"].to_numpy().copy()
    e[number] = 1.2
    write(settings, table.set_column(table.schema.get_field_index("e"), "e", pa.array(e)))
    found = known_objects(settings, candidates([seen.ra[number]], [seen.dec[number]]), EXPTIME, KnownConfig())
    assert found["ssnamenr"][0].as_py() != f"K{number:05d}"
    assert "1 orbits that are no ellipses" in caplog.text
