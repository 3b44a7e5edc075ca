import numpy as np
import pytest
from instrument_builders import (
    NX,
    NY,
    configuration,
    make_bias,
    make_exposure,
    make_flat,
    make_instrument,
    make_scene,
    make_sources,
    small_camera,
)

from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.drawing import draw_light
from zsds_tasks.simulator.instrument.reflections import ghosts
from zsds_tasks.simulator.products import Kind, Profile, Trail


def whole(frame):
    q1, q2, q3, q4 = (image.astype(int) for image in frame.images)
    return np.block([[q1, q2], [q4, q3]])


def centre(instrument, exposure, column, row, ccdid=1):
    """Camera-frame place of a CCD pixel (FITS 1-based)."""
    return tuple(float(v) for v in instrument.optics.camera_frame_of_ccd(exposure, ccdid, column, row))


def test_a_star_arrives_with_its_electrons_at_its_true_place():
    instrument, exposure = make_instrument(only=("distortion", "differential_refraction")), make_exposure()
    place = centre(instrument, exposure, 100.4, 220.7)
    light = draw_light(instrument, make_scene(exposure, make_sources(*place, 1e6)), 1)
    y, x = np.indices(light.drawn.shape)
    w = light.drawn / light.drawn.sum(dtype=float)
    assert ((w * x).sum() + 1, (w * y).sum() + 1) == pytest.approx((100.4, 220.7), abs=2e-3)
    aureole = configuration().instrument.psf.aureole_fraction
    assert light.drawn.sum(dtype=float) == pytest.approx(1e6 * (1 - aureole), rel=1e-4)


def test_scattered_light_completes_the_flux():
    camera = small_camera(769, 771)
    instrument, exposure = make_instrument(camera=camera, only=()), make_exposure(sky_mag_per_arcsec2=99.0)
    place = centre(instrument, exposure, 769.0, 771.0)
    light = draw_light(instrument, make_scene(exposure, make_sources(*place, 1e7)), 1)
    scattered = light.smooth.sum(dtype=float) * 64
    assert scattered == pytest.approx(1e7 * configuration().instrument.psf.aureole_fraction, rel=1e-3)


def test_a_moving_source_makes_a_streak_of_its_rate():
    instrument, exposure = make_instrument(only=()), make_exposure()
    place = centre(instrument, exposure, 150.0, 150.0)
    source = make_sources(*place, 1e6, rate_east=-3.0, kind=np.int8(Kind.ASTEROID))
    light = draw_light(instrument, make_scene(exposure, source), 1)
    y, x = np.indices(light.drawn.shape)
    w = light.drawn / light.drawn.sum(dtype=float)
    length = 3.0 * 30 / 1.012
    mean = (w * x).sum()
    assert (w * (x - mean) ** 2).sum() == pytest.approx(length**2 / 12, rel=0.02)  # a uniform segment along x
    assert (w * (y - (w * y).sum()) ** 2).sum() < 6
    assert mean + 1 == pytest.approx(150, abs=0.05)


def test_each_profile_is_drawn_and_none_is_needed():
    instrument, exposure = make_instrument(only=()), make_exposure()
    for profile in Profile:
        source = make_sources(
            *centre(instrument, exposure, 120.0, 90.0),
            1e5,
            profile=np.int8(profile),
            half_light_arcsec=3.0,
            axis_ratio=0.6,
        )
        drawn = draw_light(instrument, make_scene(exposure, source), 1).drawn
        assert drawn.sum(dtype=float) == pytest.approx(1e5, rel=0.06)
    assert not draw_light(instrument, make_scene(exposure), 1).drawn.any()


def test_ghosts_appear_at_the_reflected_place_and_halos_on_the_star():
    camera = small_camera(400, 402)
    instrument, exposure = make_instrument(camera=camera, only=("ghosts",)), make_exposure()
    config = configuration().instrument.reflections
    place = centre(instrument, exposure, 300.0, 250.0, ccdid=2)
    star = make_sources(*place, 1e9)
    found = draw_light(instrument, make_scene(exposure, bright=star), 1)
    kinds = {a.kind: a for a in found.artefacts}
    ghost = kinds["ghost"]
    east = config.offset_arcsec[0] + config.scale * (2 * config.axis_arcsec[0] - place[0])
    north = config.offset_arcsec[1] + config.scale * (2 * config.axis_arcsec[1] - place[1])
    column, row = instrument.optics.ccd_pixels(exposure, 1, east, north)
    assert (ghost.column, ghost.row) == pytest.approx((float(column), float(row)), abs=1e-6)
    assert ghost.object_id == 100
    ring = found.drawn[int(row) - 1, int(column) - 1 + int(45 / 1.012)]
    area = np.pi * (config.ghost_outer_arcsec**2 - config.ghost_inner_arcsec**2) / 1.012**2
    assert ring == pytest.approx(1e9 * config.ghost_flux_ratio / area, rel=1e-3)
    assert found.drawn[int(row) - 1, int(column) - 1] == 0  # the hole of the ring
    near = draw_light(instrument, make_scene(exposure, bright=star), 2)
    halo = next(a for a in near.artefacts if a.kind == "halo")
    assert (halo.column, halo.row) == pytest.approx((300, 250), abs=1e-6)
    assert halo.radius == pytest.approx(367 / 1.012)
    assert ghosts(star.take(np.zeros(1, bool)), config).east.size == 0


def test_a_trail_crosses_the_ccd_and_is_written_down():
    instrument, exposure = make_instrument(only=("satellites",)), make_exposure()
    centre_east, centre_north = centre(instrument, exposure, NX, NY)
    trail = Trail(
        77, centre_east - 900, centre_north - 100, centre_east + 900, centre_north + 100, 400.0, 1.0, 0.0, 0.0
    )
    light = draw_light(instrument, make_scene(exposure, trails=(trail,)), 1)
    (artefact,) = light.artefacts
    assert (artefact.kind, artefact.object_id) == ("trail", 77)
    assert sorted([artefact.column, artefact.column_end]) == pytest.approx([0.5, 2 * NX + 0.5])
    length = np.hypot(artefact.column - artefact.column_end, artefact.row - artefact.row_end)
    assert artefact.electrons == pytest.approx(400 * 1.012 * length, rel=0.02)
    elsewhere = Trail(78, 5000.0, 5000.0, 6000.0, 5000.0, 400.0, 1.0, 0.0, 0.0)
    assert draw_light(instrument, make_scene(exposure, trails=(elsewhere,)), 1).artefacts == ()


def test_mean_and_variance_of_flats_give_the_gain():
    instrument = make_instrument(only=("noise",), camera=small_camera(301, 303))
    gains, levels = [], (200.0, 1000.0, 2500.0)
    for k, quadrant in enumerate(instrument.camera.quadrants_of(1)):
        points = []
        for level in levels:
            pair = [expose_ccd(instrument, make_scene(make_flat(level, expid=900 + i)), 1) for i in range(2)]
            a, b = (p.images[k].astype(float) - np.median(p.overscans[k]) for p in pair)
            points.append(((a + b).mean() / 2, (a - b).var() / 2))
        slope = np.polyfit(*zip(*points, strict=True), 1)[0]
        gains.append(1 / slope / quadrant.detector.gain)
    assert np.abs(np.array(gains) - 1).max() < 0.03


def test_overscan_follows_the_bias_level_row_by_row_and_carries_the_tail_first():
    instrument = make_instrument(without=("noise", "cosmic_rays", "bias_structure", "bad_pixels"))
    frame = expose_ccd(instrument, make_scene(make_bias()), 1)
    flat = expose_ccd(instrument, make_scene(make_flat()), 1)
    for k, quadrant in enumerate(instrument.camera.quadrants_of(1)):
        image, overscan = frame.images[k].astype(int), frame.overscans[k].astype(int)
        assert np.abs(np.median(image, axis=1) - np.median(overscan, axis=1)).max() <= 1
        assert image.max() - image.min() > 1  # the drift
        in_order = flat.overscans[k][:, :: quadrant.amplifier.read_x].astype(int)
        assert (in_order[:, 0] - in_order[:, -1]).mean() == pytest.approx(0.0015 * 20000, rel=0.3)
        assert np.abs(in_order[:, 20] - in_order[:, 29]).max() <= 1


def test_a_saturated_star_bleeds_along_its_column_and_across_the_middle():
    instrument, exposure = make_instrument(only=("saturation",)), make_exposure()
    place = centre(instrument, exposure, 80.0, NY + 2.0)
    frame = expose_ccd(instrument, make_scene(exposure, make_sources(*place, 8e7)), 1)
    image = whole(frame)
    saturate = small_camera().quadrants[0].detector.saturation
    full = image > saturate
    rows = np.flatnonzero(full[:, 79])
    assert rows.size > 60
    assert rows.min() < NY < rows.max()
    assert np.flatnonzero(full.any(axis=0)).size < 20
    bleeds = [a for a in frame.artefacts if a.kind == "bleed" and a.column == 80]
    assert sum(a.electrons for a in bleeds) == rows.size
    off = expose_ccd(make_instrument(only=()), make_scene(exposure, make_sources(*place, 8e7)), 1)
    assert not [a for a in off.artefacts if a.kind == "bleed"]


SEEN_IN = {
    "overscan": "bias",
    "bias_structure": "bias",
    "noise": "bias",
    "cosmic_rays": "sky",
    "bad_pixels": "flat",
    "prnu": "flat",
    "illumination": "flat",
    "vignetting": "flat",
    "shutter": "flat",
    "nonlinearity": "flat",
    "saturation": "sky",
    "ghosts": "sky",
    "moonlight": "sky",
    "psf_variation": "sky",
    "distortion": "sky",
    "differential_refraction": "sky",
}


@pytest.mark.parametrize("effect", SEEN_IN)
def test_each_switch_changes_the_frames_it_names_and_no_others(effect):
    def frames(instrument):
        place = [centre(instrument, make_exposure(), *p) for p in ((80.0, 100.0), (200.0, 260.0))]
        stars = make_sources(*zip(*place, strict=True), [5e8, 1e5])
        moonlit = make_exposure(moon_altitude_deg=40.0, exptime_s=300.0)
        scenes = {
            "bias": make_scene(make_bias()),
            "flat": make_scene(make_flat()),
            "sky": make_scene(moonlit, stars, bright=stars),
        }
        return {name: expose_ccd(instrument, scene, 1) for name, scene in scenes.items()}

    on, off = frames(make_instrument()), frames(make_instrument(without=(effect,)))
    changed = {
        name
        for name in on
        if any(not np.array_equal(a, b) for a, b in zip(on[name].images, off[name].images, strict=True))
    }
    assert SEEN_IN[effect] in changed
    lightless = {"overscan", "bias_structure", "noise", "cosmic_rays", "bad_pixels"}
    if effect not in lightless:
        assert "bias" not in changed
    if effect in {
        "saturation",
        "ghosts",
        "moonlight",
        "psf_variation",
        "differential_refraction",
    }:
        assert changed == {"sky"}
    if effect == "illumination":
        assert changed == {"flat"}


def test_with_every_effect_off_a_frame_is_the_sky_over_the_gain():
    instrument, exposure = make_instrument(only=()), make_exposure()
    frame = expose_ccd(instrument, make_scene(exposure), 1)
    sky = exposure.sky_electrons_per_arcsec2 * 1.012**2
    for k, quadrant in enumerate(instrument.camera.quadrants_of(1)):
        signal = frame.images[k].astype(float) - frame.overscans[k].mean()
        assert np.ptp(signal) == 0
        assert signal.mean() == pytest.approx(sky / quadrant.detector.gain, abs=1)


def test_frames_depend_on_seed_and_exposure_alone():
    stars = make_sources([100.0, 300.0], [50.0, -40.0], [1e5, 1e6])
    scene = make_scene(make_exposure(), stars)
    busy = make_instrument()
    expose_ccd(busy, make_scene(make_flat()), 2)
    one, again = expose_ccd(make_instrument(), scene, 1), expose_ccd(busy, scene, 1)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(one.images + one.overscans, again.images + again.overscans, strict=True)
    )
    assert one.artefacts == again.artefacts
    other = expose_ccd(make_instrument(seed=4), scene, 1)
    assert not np.array_equal(one.images[0], other.images[0])
    later = expose_ccd(make_instrument(), make_scene(make_exposure(expid=1), stars), 1)
    assert not np.array_equal(one.images[0], later.images[0])


def test_every_effect_has_a_test_that_fails_without_it():
    # Those of the sky and the air: test_scene and test_conditions.
    sky = {"stars", "galaxies", "variables", "transients", "asteroids", "satellites", "proper_motion"}
    air = {"clouds", "twilight", "seeing_variation", "colour_terms", "pointing_error", "dithers"}
    assert set(SEEN_IN) | sky | air == set(Effects.model_fields)
