"""Two-body motion: laws as property tests, JPL Horizons as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.sky import ephemeris, horizon
from zsds_tasks.sky.ephemeris import GAUSS, OBLIQUITY_DEG, Orbits
from zsds_tasks.sky.horizon import Observer

OBSERVERS = {"X05": Observer(-30.2446, -70.7494, 2663.0), "W84": Observer(-30.169, -70.8064, 2207.0)}

elements_of_one = st.tuples(
    st.floats(0.5, 40.0),
    st.floats(0.001, 0.97),
    st.floats(0.01, 179.0),
    st.floats(0.0, 359.9),
    st.floats(0.0, 359.9),
    st.floats(0.0, 359.9),
)


def make_orbits(*elements, epoch=60000.0):
    a, e, i, node, peri, mean = (np.atleast_1d(np.asarray(x, float)) for x in elements)
    return Orbits(
        epoch_mjd=np.full(len(a), epoch),
        a_au=a,
        e=e,
        inclination_deg=i,
        node_deg=node,
        perihelion_deg=peri,
        anomaly_deg=mean,
        h_mag=np.full(len(a), 15.0),
        g_slope=np.full(len(a), 0.15),
    )


@given(st.floats(-50.0, 50.0), st.floats(0.0, 0.999))
def test_keplers_equation_is_solved(mean, e):
    anomaly = ephemeris.eccentric_anomaly(mean, e)
    assert anomaly - e * np.sin(anomaly) == pytest.approx(mean, abs=1e-10)


def test_a_hyperbola_is_refused_by_name():
    with pytest.raises(ValueError, match=r"eccentricity must be in \[0, 1\) for an ellipse, got 1.2"):
        ephemeris.eccentric_anomaly(0.1, [0.5, 1.2])


@given(elements_of_one, st.floats(-2000.0, 2000.0))
def test_elements_undo_states(elements, days):
    orbits = make_orbits(*elements)
    when = 60000.0 + days
    position, velocity = ephemeris.states(orbits, when)
    back = ephemeris.elements(position, velocity, when, 15.0, 0.15)
    again, moving = ephemeris.states(back, when)
    scale = orbits.a_au[0]
    assert again == pytest.approx(position, abs=1e-9 * scale)
    assert moving == pytest.approx(velocity, abs=1e-9 / np.sqrt(scale))
    assert back.a_au == pytest.approx(orbits.a_au, rel=1e-9)
    assert back.e == pytest.approx(orbits.e, abs=1e-9)


@given(elements_of_one, st.floats(-2000.0, 2000.0))
def test_energy_and_angular_momentum_are_kept(elements, days):
    orbits = make_orbits(*elements)
    position, velocity = ephemeris.states(orbits, 60000.0 + days)
    energy = (velocity**2).sum() / 2 - GAUSS**2 / np.linalg.norm(position)
    assert energy == pytest.approx(-(GAUSS**2) / (2 * orbits.a_au[0]), rel=1e-6)
    momentum = np.linalg.norm(np.cross(position, velocity))
    assert momentum == pytest.approx(GAUSS * np.sqrt(orbits.a_au[0] * (1 - orbits.e[0] ** 2)), rel=1e-7)


def test_an_unbound_state_is_refused():
    with pytest.raises(ValueError, match="1 of 1 states are not bound"):
        ephemeris.elements(np.array([[1.0, 0, 0]]), np.array([[0, 0.03, 0]]), 60000.0, 15.0, 0.15)


def test_rates_are_the_change_of_place():
    random = np.random.default_rng(3)
    n = 50
    orbits = make_orbits(
        random.uniform(1.2, 3.5, n),
        random.uniform(0, 0.4, n),
        random.uniform(0, 30, n),
        *random.uniform(0, 360, (3, n)),
    )
    palomar = Observer(33.36, -116.86, 1700.0)
    half = 30.0 / 86400
    before, now, after = (ephemeris.observe(orbits, 60010.0 + d, palomar) for d in (-half, 0.0, half))
    east = (after.ra - before.ra) * np.cos(np.radians(now.dec)) * 3600 / 60
    north = (after.dec - before.dec) * 3600 / 60
    # The rate of light time is left out of the analytic one: parts in ten thousand.
    assert now.rate_east == pytest.approx(east, rel=1e-3, abs=2e-6)
    assert now.rate_north == pytest.approx(north, rel=1e-3, abs=2e-6)


def test_no_orbits_give_no_places():
    seen = ephemeris.observe(Orbits.empty(), 60000.0, OBSERVERS["X05"])
    assert seen.ra.shape == seen.v_mag.shape == (0,)


def test_brightness_at_opposition_is_the_absolute_magnitude():
    assert ephemeris.reduced_dimming(1.0, 1.0, 0.0, 0.15) == pytest.approx(0.0)
    assert ephemeris.reduced_dimming(2.5, 1.5, 0.0, 0.15) == pytest.approx(5 * np.log10(3.75))


def test_agrees_with_jpl_horizons(real_data):
    """Near the epoch of a state, before planets matter: 30 mas, 2 mmag and the rates."""
    import pyarrow.parquet as pq

    folder = real_data / "solar_system"
    columns = ["orbit_id", "x_au", "y_au", "z_au", "vx", "vy", "vz", "epoch_mjd"]
    bodies = pq.read_table(folder / "horizons_state_vectors.parquet", columns=columns).to_pylist()
    table = pq.read_table(
        folder / "horizons_ephemerides.parquet",
        columns=[
            "orbit_id",
            "mjd_utc",
            "observatory_code",
            "RA",
            "DEC",
            "RA_rate",
            "DEC_rate",
            "V",
            "H",
            "G",
        ],
    ).to_pylist()
    epochs = {body["orbit_id"]: body for body in bodies}
    compared = 0
    for row in table:
        body = epochs[row["orbit_id"]]
        if abs(row["mjd_utc"] - body["epoch_mjd"]) > 1.0:
            continue
        position = _to_icrs(body["x_au"], body["y_au"], body["z_au"])
        velocity = _to_icrs(body["vx"], body["vy"], body["vz"])
        try:
            orbit = ephemeris.elements(position, velocity, body["epoch_mjd"], row["H"], row["G"])
        except ValueError:
            continue  # an interstellar visitor is among them
        seen = ephemeris.observe(orbit, row["mjd_utc"], OBSERVERS[row["observatory_code"]])
        cos = np.cos(np.radians(row["DEC"]))
        assert (seen.ra[0] - row["RA"]) * cos * 3600 == pytest.approx(0.0, abs=0.03)
        assert (seen.dec[0] - row["DEC"]) * 3600 == pytest.approx(0.0, abs=0.03)
        assert seen.rate_east[0] * 3600 == pytest.approx(row["RA_rate"], abs=0.05)
        assert seen.rate_north[0] * 3600 == pytest.approx(row["DEC_rate"], abs=0.05)
        assert seen.v_mag[0] == pytest.approx(row["V"], abs=0.002)
        compared += 1
    assert compared >= 10


def _to_icrs(x, y, z):
    angle = np.radians(OBLIQUITY_DEG)
    return np.array([[x, y * np.cos(angle) - z * np.sin(angle), y * np.sin(angle) + z * np.cos(angle)]])


def test_terrestrial_time_runs_ahead_of_utc():
    assert (horizon.tt(60000.0) - 60000.0) * 86400 == pytest.approx(69.184, abs=1e-5)
