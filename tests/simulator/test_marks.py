"""Every effect leaves in the raw counts the mark its formula says, and none once it is switched off."""

import numpy as np
import pytest
from instrument_builders import (
    configuration,
    make_bias,
    make_exposure,
    make_flat,
    make_instrument,
    make_scene,
    make_sources,
    small_camera,
)

from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.detector import BAD_KINDS, bad_pixels
from zsds_tasks.simulator.truth.tables import detection_table

CONFIG = configuration().instrument
ON_AND_OFF = pytest.mark.parametrize("is_on", [True, False])


def instrument_with(effect, *, is_on=True, camera=None):
    return make_instrument(only=(effect,) if is_on else (), camera=camera)


def signal(instrument, scene, ccdid=1):
    """Counts over the overscan times the gain (electrons, still non-linear), as the CCD lies."""
    frame = expose_ccd(instrument, scene, ccdid)
    q1, q2, q3, q4 = (
        (image.astype(float) - np.median(overscan)) * quadrant.detector.gain
        for image, overscan, quadrant in zip(
            frame.images, frame.overscans, instrument.camera.quadrants_of(ccdid), strict=True
        )
    )
    return np.block([[q1, q2], [q4, q3]])


def field_place(instrument, exposure, ccdid=1):
    """(u, v) of every pixel: east and north in units of the half diagonal."""
    shape = instrument.camera.quadrant
    row, column = np.mgrid[1 : 2 * shape.ny + 1, 1 : 2 * shape.nx + 1].astype(float)
    east, north = instrument.optics.camera_frame_of_ccd(exposure, ccdid, column, row)
    return east / instrument.optics.radius_arcsec, north / instrument.optics.radius_arcsec


@ON_AND_OFF
def test_vignetting_dims_the_edge(is_on):
    instrument, flat = instrument_with("vignetting", is_on=is_on), make_flat()
    u, v = field_place(instrument, flat)
    r2 = u**2 + v**2
    first, second = CONFIG.throughput.vignetting
    law = 1 - (first * r2 + second * r2**2) * is_on
    assert law.min() < 0.91 or not is_on
    np.testing.assert_allclose(signal(instrument, make_scene(flat)) / flat.lamp_electrons, law, atol=2e-4)


@ON_AND_OFF
def test_flats_of_two_times_give_the_shutter_map(is_on):
    """Reference 3.5: dt = (t2 F1 - t1 F2) / (F2 - F1)."""
    instrument = instrument_with("shutter", is_on=is_on)
    times = (2.5, 10.0)
    short, long = (signal(instrument, make_scene(make_flat(exptime_s=t))) for t in times)
    late = (times[1] * short - times[0] * long) / (long - short)
    _, v = field_place(instrument, make_flat())
    law = (CONFIG.throughput.shutter_delay_s + CONFIG.throughput.shutter_slope_s * v) * is_on
    for rows in (slice(0, 40), slice(-40, None)):  # rounding to counts hides a millisecond in one pixel
        assert late[rows].mean() == pytest.approx(law[rows].mean(), abs=2e-4)


@ON_AND_OFF
def test_every_lamp_lights_the_screen_in_its_own_way(is_on):
    instrument = instrument_with("illumination", is_on=is_on)
    seven, eight = (signal(instrument, make_scene(make_flat(led=led))) for led in (7, 8))
    assert (np.ptp(seven / eight) > 0.005) == is_on
    assert (np.ptp(seven) / seven.mean() > 0.005) == is_on


@ON_AND_OFF
def test_pixels_respond_with_their_scatter_and_the_ccd_with_its_waves(is_on):
    relative = (
        signal(instrument_with("prnu", is_on=is_on), make_scene(make_flat())) / make_flat().lamp_electrons
    )
    neighbours = np.diff(relative, axis=1)[:, ::2] / np.sqrt(2)
    assert neighbours.std() == pytest.approx(CONFIG.detector.prnu_rms * is_on, rel=0.03, abs=1e-4)
    blocks = relative[:280, :280].reshape(7, 40, 7, 40).mean(axis=(1, 3))
    assert (blocks.std() > 3 * CONFIG.detector.prnu_rms / 40) == is_on


@ON_AND_OFF
def test_counts_follow_the_linearity_law_of_the_channel(is_on):
    instrument = instrument_with("nonlinearity", is_on=is_on)
    for level in (500.0, 2000.0, 5000.0):
        frame = expose_ccd(instrument, make_scene(make_flat(level)), 1)
        for image, overscan, quadrant in zip(
            frame.images, frame.overscans, instrument.camera.quadrants_of(1), strict=True
        ):
            x = np.median(image) - np.median(overscan)
            line = quadrant.detector.linearity
            law = x / (line.a * x * x + line.b * x + 1) if is_on else x
            true = level * 10 * 6.2 / quadrant.detector.gain
            assert law == pytest.approx(true, abs=1.1)
            if level == 5000.0:
                assert (abs(x - true) > 100) == is_on


@ON_AND_OFF
def test_the_sky_rises_toward_the_moon(is_on):
    instrument = instrument_with("moonlight", is_on=is_on)
    exposure = make_exposure(
        moon_altitude_deg=40.0, moon_illumination=0.9, moon_ra=345.0, moon_dec=80.0, sky_mag_per_arcsec2=17.0
    )
    counts = signal(instrument, make_scene(exposure))
    _, v = field_place(instrument, exposure)
    north, south = counts[:20].mean(), counts[-20:].mean()  # rows run south
    law = CONFIG.throughput.moon_gradient * 0.9 * (v[:20].mean() - v[-20:].mean()) * is_on
    assert (north - south) / counts.mean() == pytest.approx(law, abs=1e-3)
    assert law > 0.005 or not is_on


@ON_AND_OFF
def test_defects_are_where_truth_says_and_nowhere_else(is_on):
    camera = small_camera(301, 303)
    instrument = instrument_with("bad_pixels", is_on=is_on, camera=camera)
    flat = make_flat()
    relative = signal(instrument, make_scene(flat)) / flat.lamp_electrons
    bad = bad_pixels(camera, CONFIG.detector, instrument.seed, 1)
    expected = np.ones_like(relative)
    seconds = flat.exptime_s + camera.exposure.readout_s / 2
    for row, column, kind, value in zip(bad.row, bad.column, bad.kind, bad.value, strict=True):
        if BAD_KINDS[kind] == "blocked column":
            expected[row : 303 if row < 303 else row + 1, column] *= value
            if row >= 303:
                expected[303 : row + 1, column] = expected[row, column]
        elif BAD_KINDS[kind] == "hot":
            expected[row, column] += value * seconds / flat.lamp_electrons
        else:
            expected[row, column] = value
    assert (expected != 1).sum() > 20
    np.testing.assert_allclose(relative, expected if is_on else 1.0, atol=3e-3)


@ON_AND_OFF
def test_cosmic_rays_leave_the_charge_truth_tells(is_on):
    instrument = instrument_with("cosmic_rays", is_on=is_on, camera=small_camera(301, 303))
    dark = make_bias(imgtypecode="d", exptime_s=600.0)
    frame = expose_ccd(instrument, make_scene(dark), 1)
    told = [a for a in frame.artefacts if a.kind == "cosmic ray"]
    counts = signal(instrument, make_scene(dark))
    assert bool(told) == is_on
    assert counts.sum() == pytest.approx(sum(a.electrons for a in told), rel=0.1)
    for hit in told:
        near = counts[
            max(int(hit.row) - 3, 0) : int(hit.row) + 2, max(int(hit.column) - 3, 0) : int(hit.column) + 2
        ]
        assert near.max() > 100


@ON_AND_OFF
def test_bias_frames_have_the_read_noise_of_their_channel(is_on):
    instrument = instrument_with("noise", is_on=is_on)
    frame = expose_ccd(instrument, make_scene(make_bias()), 1)
    for image, overscan, quadrant in zip(
        frame.images, frame.overscans, instrument.camera.quadrants_of(1), strict=True
    ):
        sigma = np.hypot(quadrant.detector.read_noise / quadrant.detector.gain, 1 / np.sqrt(12)) * is_on
        assert image.std() == pytest.approx(sigma, rel=0.03)
        assert overscan.std() == pytest.approx(sigma, rel=0.05)


@ON_AND_OFF
def test_bias_frames_have_a_fixed_structure(is_on):
    instrument = instrument_with("bias_structure", is_on=is_on)
    one, two = (expose_ccd(instrument, make_scene(make_bias(expid=n)), 1) for n in (1, 2))
    for image, again in zip(one.images, two.images, strict=True):
        assert np.array_equal(image, again)
        assert (image.std() > 1) == is_on


@ON_AND_OFF
def test_the_bias_level_drifts_along_rows_and_between_exposures(is_on):
    instrument = instrument_with("overscan", is_on=is_on)
    one, two = (expose_ccd(instrument, make_scene(make_bias(expid=n)), 1) for n in (1, 2))
    drifts = [np.ptp(np.median(overscan, axis=1)) for overscan in one.overscans]
    assert (max(drifts) > 2) == is_on
    assert any(a.mean() != b.mean() for a, b in zip(one.overscans, two.overscans, strict=True)) == is_on


@ON_AND_OFF
def test_stars_widen_and_lengthen_over_the_field(is_on):
    instrument, exposure = instrument_with("psf_variation", is_on=is_on), make_exposure(psf_ellipticity=0.0)
    moments = []
    for ccdid, column, row in ((1, 60.0, 60.0), (2, 60.0, 157.0)):
        place = instrument.optics.camera_frame_of_ccd(exposure, ccdid, column, row)
        light = make_scene(exposure, make_sources(*(float(p) for p in place), 2e6))
        image = signal(instrument, light, ccdid)[
            int(row) - 31 : int(row) + 30, int(column) - 31 : int(column) + 30
        ]
        y, x = np.mgrid[-30:31, -30:31]
        w = (image - np.median(image)) * np.exp(-(x**2 + y**2) / 18)
        moments.append(
            ((w * x * x).sum() / w.sum(), (w * x * y).sum() / w.sum(), (w * y * y).sum() / w.sum())
        )
    corner, centre = moments
    assert (corner[0] + corner[2] > 1.02 * (centre[0] + centre[2])) == is_on
    assert (abs(corner[1]) > 0.01) == is_on


def test_truth_tells_where_stars_lie_in_the_counts_and_how_bright_they_are():
    """Centroids and aperture photometry on raw counts with every optical effect on."""
    instrument = make_instrument(without=("vignetting", "bad_pixels", "cosmic_rays", "bias_structure"))
    exposure = make_exposure()
    columns, rows = np.array([60.3, 240.8, 70.6, 230.1]), np.array([71.9, 80.2, 240.4, 231.7])
    places = instrument.optics.camera_frame_of_ccd(exposure, 1, columns, rows)
    scene = make_scene(exposure, make_sources(*places, [3e5, 6e5, 1e6, 1.5e6]))
    truth = detection_table(instrument.camera, instrument.optics, scene).to_pylist()
    frame = expose_ccd(instrument, scene, 1)
    assert sorted(t["rcid"] for t in truth) == [0, 1, 2, 3]
    for star in truth:
        line = instrument.camera.quadrants[star["rcid"]].detector.linearity
        x = (
            frame.images[star["rcid"]].astype(float)
            - np.median(frame.overscans[star["rcid"]], axis=1)[:, None]
        )
        image = x / (line.a * x * x + line.b * x + 1)
        row, column = np.indices(image.shape) + 1
        distance = np.hypot(column - star["x"], row - star["y"])
        ring = (distance > 20) & (distance < 40)
        image -= np.median(image[ring])
        # What falls outside is scattered light and the profile's wings, under 3 %.
        assert image[distance < 14].sum() == pytest.approx(star["flux_dn"] * 0.985, rel=0.02)
        weight = np.where(distance < 6, image, 0)
        centroid = (weight * column).sum() / weight.sum(), (weight * row).sum() / weight.sum()
        assert centroid == pytest.approx((star["x"], star["y"]), abs=0.03)
