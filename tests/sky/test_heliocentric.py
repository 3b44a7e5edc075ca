from __future__ import annotations

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.coordinates import get_body_barycentric
from astropy.time import Time

from zsds_tasks.sky.heliocentric import heliocentric_mjd
from zsds_tasks.sky.horizon import sun


def test_it_is_the_way_of_light_along_the_line_of_sight():
    random = np.random.default_rng(5)
    mjd, ra = random.uniform(58000, 62000, 50), random.uniform(0, 360, 50)
    dec = np.degrees(np.arcsin(random.uniform(-1, 1, 50)))
    times = Time(mjd, format="mjd", scale="tdb")
    bodies = [get_body_barycentric(name, times, ephemeris="builtin").xyz for name in ("earth", "sun")]
    a, d = np.radians(ra), np.radians(dec)
    star = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    delay = (np.sum((bodies[0] - bodies[1]) * star, axis=0) / constants.c).to_value(u.s)
    ours = (heliocentric_mjd(mjd, ra, dec) - mjd) * 86_400
    assert ours == pytest.approx(delay, abs=0.02)
    assert np.abs(ours).max() < 508


def test_a_star_behind_the_sun_is_seen_late_and_one_opposite_early():
    alpha, delta = (float(value) for value in sun(60000.0)[:2])
    behind, opposite = heliocentric_mjd(60000.0, [alpha, alpha + 180], [delta, -delta]) - 60000.0
    assert behind * 86_400 == pytest.approx(-494, abs=6)
    assert opposite == pytest.approx(-behind, rel=1e-6)


def test_shapes_broadcast_and_a_scalar_stays_one():
    assert heliocentric_mjd(60000.0, 10.0, 20.0).shape == ()
    assert heliocentric_mjd(60000.0, np.zeros(3), np.zeros(3)).shape == (3,)
