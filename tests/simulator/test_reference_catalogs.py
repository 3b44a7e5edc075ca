"""Gaia, Pan-STARRS and asteroids of the simulated sky: as good as the real ones, readable as HATS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from scene_builders import MJD, light_config, make_night, make_world

from zsds_tasks.lakehouse.hats_reader import read_partitions
from zsds_tasks.simulator.sky.asteroids import population
from zsds_tasks.simulator.sky.census import camera_radius_deg, take_census
from zsds_tasks.simulator.truth import published_catalogs
from zsds_tasks.simulator.truth.published_catalogs import write_reference_catalogs
from zsds_tasks.simulator.truth.reference_catalogs import (
    gaia_table,
    orbit_table,
    ps1_table,
    star_galaxy_scores,
)
from zsds_tasks.sky import ephemeris
from zsds_tasks.sky.tangent import separation_deg

CENTRE = (345.0, 32.0)


@pytest.fixture(scope="module")
def census():
    world = make_world()
    return take_census(world.site, world.config, world.seed, [CENTRE], MJD)


@pytest.fixture(scope="module")
def gaia(census):
    return gaia_table(census, 5)


@pytest.fixture(scope="module")
def ps1(census):
    return ps1_table(census, 5)


def test_a_census_covers_the_camera_and_nothing_twice(census):
    radius = camera_radius_deg(make_world().site)
    assert separation_deg(census.stars.ra, census.stars.dec, *CENTRE).max() < radius
    assert len(np.unique(census.stars.object_id)) == len(census.stars)
    colours = census.stars.mags[0] - census.stars.mags[1]
    rr = census.variability.row[census.variability.kind == 2]
    assert (colours[rr] < 0.45).all()


def test_gaia_is_as_good_as_gaia(census, gaia):
    keep = {round(ra, 4): k for k, ra in enumerate(census.stars.ra)}
    bright = gaia.filter(pc.less(gaia["phot_g_mean_mag"], 17.0))
    rows = [keep.get(round(ra, 4), -1) for ra in bright["ra"].to_pylist()]
    good = np.array(rows) >= 0
    truth = census.stars.take(np.array(rows)[good])
    pull = (bright["dec"].to_numpy()[good] - truth.dec) * 3.6e6 / bright["dec_error"].to_numpy()[good]
    pull = pull[np.abs(pull) < 10]
    assert np.std(pull) == pytest.approx(1.0, abs=0.15)
    assert pc.max(gaia["phot_g_mean_mag"]).as_py() < 20.7
    assert pc.max(gaia["ra_error"]).as_py() < 1.5
    assert len(pc.unique(gaia["source_id"])) == gaia.num_rows
    assert set(gaia["ref_epoch"].to_pylist()) == {2016.0}


def test_pan_starrs_has_stars_and_galaxies_with_honest_errors(census, ps1):
    assert ps1.num_rows > 0.5 * (len(census.stars) + len(census.galaxies))
    assert len(pc.unique(ps1["objid"])) == ps1.num_rows
    errors = ps1["rmag_error"].to_numpy()
    assert np.median(errors[ps1["rmag"].to_numpy() < 18]) < 0.01
    assert np.median(errors[ps1["rmag"].to_numpy() > 21.5]) > 0.04


def test_pan_starrs_agrees_with_truth_within_its_errors(census, ps1):
    mags = np.concatenate([census.stars.mags, census.galaxies.mags], axis=1)
    ra, dec = (
        np.concatenate([getattr(o, n) for o in (census.stars, census.galaxies)]) for n in ("ra", "dec")
    )
    listed = (mags[1] < 22.0) & (mags[1] > 13.5)
    assert listed.sum() == ps1.num_rows
    for truth, band in zip(mags[:, listed], "griz", strict=True):
        pull = (ps1[f"{band}mag"].to_numpy() - truth) / ps1[f"{band}mag_error"].to_numpy()
        assert (pull.mean(), pull.std()) == pytest.approx((0.0, 1.0), abs=0.03)
    offset = 3600 * separation_deg(ps1["ra"].to_numpy(), ps1["dec"].to_numpy(), ra[listed], dec[listed])
    assert np.median(offset[mags[1][listed] < 18]) == pytest.approx(0.012, abs=0.004)  # 10 mas per axis
    assert offset.max() < 0.5


def test_all_known_asteroids_and_no_others_are_listed():
    bodies, observer = population(light_config().asteroids, 5), make_world().site.observer
    table = orbit_table(bodies, MJD, observer)
    seen = ephemeris.observe(bodies.orbits, MJD, observer)
    listed = bodies.is_known & (seen.v_mag < 21.5)
    assert 0 < listed.sum() < (seen.v_mag < 21.5).sum()
    np.testing.assert_array_equal(table["a_au"].to_numpy(), bodies.orbits.a_au[listed])
    np.testing.assert_allclose(table["v_mag"].to_numpy(), seen.v_mag[listed], atol=1e-5)


def test_scores_separate_as_well_as_published():
    """Reference 8.4: threshold 0.829 keeps most stars and loses under a percent of galaxies when bright."""
    random = np.random.default_rng(1)
    for r, least in ((18.0, 0.999), (21.0, 0.90), (22.0, 0.70)):
        n = 4000
        stars = star_galaxy_scores(random, np.ones(n, bool), np.full(n, r))
        galaxies = star_galaxy_scores(random, np.zeros(n, bool), np.full(n, r))
        assert ((stars >= 0) & (stars <= 1)).all()
        assert (stars > 0.5).mean() >= least
        assert (galaxies > 0.5).mean() <= 1 - least
    assert (galaxies > 0.5).mean() > 0.02  # confusion at the faint end is real


def test_known_orbits_lead_back_to_their_places():
    config, observer = light_config().asteroids, make_world().site.observer
    table = orbit_table(population(config, 5), MJD, observer)
    assert 0 < table.num_rows < config.main_belt.count
    columns = ("epoch_mjd", "a_au", "e", "inclination_deg", "node_deg", "perihelion_deg", "anomaly_deg")
    orbits = ephemeris.Orbits(*(table[c].to_numpy() for c in (*columns, "h_mag", "g_slope")))
    seen = ephemeris.observe(orbits, MJD, observer)
    np.testing.assert_allclose([seen.ra, seen.dec], [table["ra"].to_numpy(), table["dec"].to_numpy()])
    assert len(set(table["name"].to_pylist())) == table.num_rows


def test_the_same_seed_measures_the_same(census, gaia, ps1):
    assert gaia.equals(gaia_table(census, 5))
    assert ps1.equals(ps1_table(census, 5))
    assert not gaia.equals(gaia_table(census, 6))


def test_catalogues_of_an_empty_sky_are_empty():
    world = make_world()
    nothing = take_census(world.site, world.config, world.seed, [], MJD)
    assert gaia_table(nothing, 5).num_rows == ps1_table(nothing, 5).num_rows == 0


def test_catalogues_are_published_once_and_read_back_by_cone(tmp_path):
    night = make_night()
    uris = write_reference_catalogs(night, tmp_path)
    assert set(uris) == {"gaia", "ps1", "asteroids"}
    stars = read_partitions(uris["gaia"], ["source_id", "ra", "dec"], cone=(*CENTRE, 600.0))
    assert stars.num_rows > 50
    assert separation_deg(stars["ra"].to_numpy(), stars["dec"].to_numpy(), *CENTRE).max() < 1.0
    times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    assert write_reference_catalogs(night, tmp_path) == uris
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == times
    (tmp_path / "asteroids.json").unlink()
    write_reference_catalogs(night, tmp_path)
    changed = {p for p in tmp_path.rglob("*.parquet") if p.stat().st_mtime_ns != times.get(p)}
    assert changed
    assert all("asteroids" in str(p) for p in changed)


def test_a_catalogue_that_fails_half_way_leaves_the_one_before_and_is_made_the_next_time(
    tmp_path, monkeypatch
):
    night = make_night()
    uris = write_reference_catalogs(night, tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "gaia").rglob("*") if p.is_file()}
    (tmp_path / "gaia.json").unlink()

    def killed(name, table, uri, **_):
        (Path(uri) / "dataset").mkdir(parents=True)
        raise OSError(f"no space left for {name}")

    with monkeypatch.context() as patch:
        patch.setattr(published_catalogs, "write_catalog", killed)
        with pytest.raises(OSError, match="gaia"):
            write_reference_catalogs(night, tmp_path)
    assert {p: p.read_bytes() for p in (tmp_path / "gaia").rglob("*") if p.is_file()} == before
    assert write_reference_catalogs(night, tmp_path) == uris
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"gaia", "ps1", "asteroids"}
