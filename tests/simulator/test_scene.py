"""What reaches the camera: complete near the pixels, lit by the right laws, the same from every process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pickle

import numpy as np
import pytest
from scene_builders import INCLUDE, NIGHT, light_config, make_night, make_world, science

from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.products import Kind, Scene, Sources
from zsds_tasks.simulator.sky import scene as scenes
from zsds_tasks.simulator.sky.identities import Family, family_of
from zsds_tasks.simulator.sky.light import Shapes, expose
from zsds_tasks.simulator.sky.scene import Region
from zsds_tasks.simulator.world import World
from zsds_tasks.sky import ephemeris
from zsds_tasks.sky.tangent import deproject, project
from zsds_tasks.survey.nights import mjd

FLOATS = [f.name for f in dataclasses.fields(Sources)]


def same(one: Sources, other: Sources) -> bool:
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in FLOATS)


def exposure_of(night, name="r"):
    return next(e for e in science(night) if e.filter.name == name)


def lit(exposure, mags, *, effects=(), places=None):
    """Sources of one object at the boresight."""
    config = light_config().without(*effects)
    where = places or (np.array([exposure.boresight_ra]), np.array([exposure.boresight_dec]))
    n = len(where[0])
    light = np.tile(np.asarray(mags, float)[:, None], n)
    return expose(
        exposure, config.light, config.effects, np.arange(n), Kind.STAR, where, light, Shapes.points(n)
    )


def test_indoor_frames_see_nothing():
    night = make_night()
    scene = night.scene(night.exposures[0], 1)
    assert (len(scene.sources), len(scene.bright), scene.trails) == (0, 0, ())
    assert isinstance(scene, Scene)


def test_a_fresh_process_makes_the_same_scene():
    night = make_night()
    exposure = exposure_of(night)
    first = night.scene(exposure, 1)
    copy = pickle.loads(pickle.dumps(night))  # noqa: S301 - our own bytes: what a worker receives
    for cache in (scenes.star_field, scenes.bright_field, scenes.galaxy_field, scenes.event_field):
        cache.cache_clear()
    again = copy.scene(exposure, 1)
    assert same(first.sources, again.sources)
    assert same(first.bright, again.bright)
    assert first.trails == again.trails


def test_the_ccds_together_see_what_the_camera_sees():
    night = make_night()
    exposure, camera = exposure_of(night), make_world().site.camera
    whole = night.scene(exposure).sources
    parts = [night.scene(exposure, ccdid).sources for ccdid in camera.ccdids]
    split = set(np.concatenate([p.object_id for p in parts]).tolist())
    assert split <= set(whole.object_id.tolist())
    for quadrant in camera.quadrants:
        x, y = camera.pixel(quadrant.rcid, whole.east, whole.north)
        inside = (x > 0) & (x < camera.quadrant.nx) & (y > 0) & (y < camera.quadrant.ny)
        seen = parts[quadrant.ccdid - 1]
        assert set(whole.object_id[inside].tolist()) <= set(seen.object_id.tolist())


def test_no_object_appears_twice():
    night = make_night()
    for exposure in science(night)[:6]:
        sources = night.scene(exposure).sources
        assert len(np.unique(sources.object_id)) == len(sources)


def test_densities_of_the_mini_fields_are_real():
    night = make_night()
    counts = {e.field: (night.scene(e).sources.mag < 20.8).sum() for e in science(night) if e.fid == 2}
    area = 0.38
    per_quadrant = [n / area * 0.75 for n in counts.values()]
    assert 3_000 < min(per_quadrant) < 5_000
    assert max(per_quadrant) > 9_000


def test_every_kind_is_there_on_one_night():
    night = make_night()
    kinds = set()
    for exposure in science(night):
        kinds |= set(night.scene(exposure).sources.kind.tolist())
    assert kinds == {int(k) for k in Kind}


@pytest.mark.parametrize(
    ("effect", "kinds"),
    [
        ("stars", {Kind.STAR, Kind.VARIABLE}),
        ("galaxies", {Kind.GALAXY}),
        ("transients", {Kind.SUPERNOVA, Kind.TRANSIENT}),
        ("asteroids", {Kind.ASTEROID}),
    ],
)
def test_switching_off_a_kind_leaves_the_others_alone(effect, kinds):
    on, off = make_night(exposures=12), make_night(without=(effect,), exposures=12)
    gone, step = 0, 1 if effect == "asteroids" else 5
    for a, b in zip(science(on)[::step], science(off)[::step], strict=True):
        with_it, without_it = on.scene(a).sources, off.scene(b).sources
        kept = ~np.isin(with_it.kind, list(kinds))
        assert same(with_it.take(kept), without_it)
        gone += (~kept).sum()
    assert gone > 0


def test_switched_off_proper_motion_leaves_stars_where_the_catalogue_has_them():
    on, off = make_night(exposures=12), make_night(without=("proper_motion",), exposures=12)
    a, b = (n.scene(science(n)[0]).sources for n in (on, off))
    _, rows_a, rows_b = np.intersect1d(a.object_id, b.object_id, return_indices=True)
    assert len(rows_a) > 0.99 * len(a)  # some at the very edge are moved out or in
    a, b = a.take(rows_a), b.take(rows_b)
    moved = 3.6e6 * np.hypot((a.ra - b.ra) * np.cos(np.radians(a.dec)), a.dec - b.dec)
    stars = np.isin(a.kind, [Kind.STAR, Kind.VARIABLE])
    assert (moved[~stars] == 0).all()
    assert 20 < np.median(moved[stars]) < 100  # ten years of some milliarcseconds
    assert moved.max() > 500


def test_a_streak_that_only_ends_on_the_pixels_is_not_lost():
    config = light_config()
    fast = config.asteroids.model_copy(update={"fast_per_night": 1, "fast_rate_arcsec_min": (280.0, 300.0)})
    world = World.of("mini", INCLUDE, 5, config.model_copy(update={"asteroids": fast}))
    night = world.night(NIGHT, exposures=12)
    bodies = night.maker.bodies
    streaking = bodies.take(family_of(bodies.object_id) == Family.FAST_ASTEROID)
    for exposure in science(night):
        seen = ephemeris.observe(streaking.orbits, mjd(exposure.middle), world.site.observer)
        half_streak = np.hypot(seen.rate_east[0], seen.rate_north[0]) * exposure.exptime_s / 2
        if half_streak > 60.0:
            break
    # The body passes beside the camera, farther off than resting sources are asked for.
    beside = world.site.camera.half_size_arcsec[0] + config.light.margin_arcsec + 10.0
    ra, dec = (float(v) for v in deproject(-beside, 0.0, (float(seen.ra[0]), float(seen.dec[0]))))
    aside = dataclasses.replace(exposure, boresight_ra=ra, boresight_dec=dec, rotation_deg=0.0)
    middle = aside.middle - dt.timedelta(seconds=1)
    short = dataclasses.replace(aside, exptime_s=2.0, start=middle)
    found = [streaking.object_id[0] in night.scene(e).sources.object_id for e in (aside, short)]
    assert found == [True, False]


def test_switched_off_variables_stay_at_their_mean():
    on, off = make_night(exposures=12), make_night(without=("variables",), exposures=12)
    a, b = (n.scene(science(n)[0]).sources for n in (on, off))
    assert np.array_equal(a.object_id, b.object_id)
    changed = a.mag != b.mag
    assert changed.any()
    assert (a.kind[changed] == Kind.VARIABLE).all()


def test_satellites_can_be_switched_off():
    on, off = make_night(exposures=40), make_night(exposures=40, without=("satellites",))
    assert any(on.scene(e, ccdid).trails for e in science(on) for ccdid in (1, 2))
    assert not any(off.scene(e, 1).trails for e in science(off))


@pytest.mark.parametrize("name", ["g", "r", "i"])
def test_electrons_are_the_declared_count_rates(name):
    """Reference 1.3: electrons per second at AB = 20, at zenith."""
    exposure = exposure_of(make_night(without=("clouds",)), name)
    sources = lit(exposure, [20.0, 20.0, 20.0, 20.0], effects=("clouds",))
    k = light_config().conditions.bands[name].extinction_per_airmass
    absorbed = 10 ** (-0.4 * k * (exposure.airmass - 1))
    assert sources.electrons[0] == pytest.approx(
        exposure.filter.electrons_per_s_at_20 * 30 * absorbed, rel=1e-9
    )


def test_zero_point_and_gain_mean_what_they_say():
    exposure = exposure_of(make_night())
    sources = lit(exposure, [exposure.zero_point] * 4)
    assert sources.electrons[0] / exposure.nominal_gain == pytest.approx(1.0)


def test_colour_terms_change_red_stars_as_declared():
    exposure = exposure_of(make_night())
    flat, red = lit(exposure, [18.0] * 4), lit(exposure, [19.0, 18.0, 17.5, 17.2])
    c = light_config().light.bands["r"].coefficient
    assert red.electrons[0] / flat.electrons[0] == pytest.approx(10 ** (0.4 * c))
    off = lit(exposure, [19.0, 18.0, 17.5, 17.2], effects=("colour_terms",))
    assert off.electrons[0] == pytest.approx(flat.electrons[0])


def test_blue_stars_are_refracted_toward_the_zenith():
    exposure = max(science(make_night()), key=lambda e: e.airmass * (e.fid == 1))
    blue, red = lit(exposure, [18.0, 18.3, 18.4, 18.4]), lit(exposure, [19.3, 18.0, 17.4, 17.0])
    angle = np.radians(exposure.parallactic_deg - exposure.rotation_deg)
    shift = np.array([blue.east[0] - red.east[0], blue.north[0] - red.north[0]])
    toward = shift @ [np.sin(angle), np.cos(angle)]
    assert 0.02 < toward < 0.4
    assert shift @ [np.cos(angle), -np.sin(angle)] == pytest.approx(0.0, abs=1e-9)
    assert blue.ra[0] == red.ra[0]
    still = lit(exposure, [18.0, 18.3, 18.4, 18.4], effects=("differential_refraction",))
    assert (still.east[0], still.north[0]) == pytest.approx((0.0, 0.0), abs=1e-6)


def test_a_clouds_gradient_dims_one_side():
    exposure = dataclasses.replace(
        exposure_of(make_night()), extinction_mag=0.5, extinction_gradient=(0.2, 0.0), rotation_deg=0.0
    )
    cos = np.cos(np.radians(exposure.boresight_dec))
    ra = exposure.boresight_ra + np.array([-0.4, 0.0, 0.4]) / cos
    sources = lit(exposure, [18.0] * 4, places=(ra, np.full(3, exposure.boresight_dec)))
    drop = -2.5 * np.log10(sources.electrons / sources.electrons[1])
    assert drop == pytest.approx([-0.08, 0.0, 0.08], abs=1e-4)


def test_the_camera_frame_is_the_projection_about_the_true_boresight():
    exposure = exposure_of(make_night(without=("differential_refraction",)))
    sources = make_night(without=("differential_refraction",)).scene(exposure, 1).sources
    centre = (exposure.boresight_ra, exposure.boresight_dec)
    east, north = project(sources.ra, sources.dec, centre, exposure.rotation_deg)
    np.testing.assert_allclose([sources.east, sources.north], [east, north], atol=1e-6)


def test_regions_are_the_ccds():
    site, exposure = make_world().site, exposure_of(make_night())
    regions = [Region.of(site, exposure, ccdid) for ccdid in site.camera.ccdids]
    assert [r.half_size for r in regions] == [(768 * 1.012, 770 * 1.012)] * 2
    assert regions[0].frame_centre[0] == -regions[1].frame_centre[0] > 0  # CCD 1 is east


def test_bright_stars_are_listed_for_ghosts():
    night = make_night()
    for exposure in science(night)[:8]:
        scene = night.scene(exposure, 2)
        assert 1 <= len(scene.bright) <= 8
        assert (scene.bright.mag < light_config().light.bright_mag).all()


def test_an_unknown_effect_is_named():
    with pytest.raises(ValueError, match=r"no such effect: \['weather'\]; known:.*clouds"):
        load_simulator(INCLUDE).without("weather")


def test_configurations_are_known_by_their_values():
    one, other = load_simulator(INCLUDE), load_simulator(INCLUDE).without("clouds")
    assert one.digest != other.digest
    assert hash(one) == hash(load_simulator(INCLUDE))
