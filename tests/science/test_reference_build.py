"""A reference has the light, places and noise of its epochs, and nothing that only one of them saw."""

import dataclasses

import numpy as np
import pytest
from reference_builders import SHAPE, ZERO_POINT, defects, field, make_epoch, make_epochs
from scipy.ndimage import maximum_filter

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.reference.build import build_reference
from zsds_tasks.science.reference.config import BuildConfig, ReferenceQualityConfig
from zsds_tasks.science.reference.quality import judge_reference, measure_reference, point_source_depth
from zsds_tasks.sky.tangent import deproject

STARS = field(1)
CONFIG = BuildConfig()


def measured(reference, stars, radius=9):
    """Return aperture fluxes and centroids (0-based) of stars, and where they should be."""
    x, y = (v - 1 for v in reference.wcs.sky_to_pixel(stars.ra, stars.dec))
    row, column = np.mgrid[: reference.shape[0], : reference.shape[1]]
    fluxes, places = [], []
    for x0, y0 in zip(x, y, strict=True):
        near = np.hypot(row - y0, column - x0) < radius
        light = np.where(near, reference.image, 0).astype(float)
        core = np.exp(-((row - y0) ** 2 + (column - x0) ** 2) / 8) * light
        fluxes.append(light.sum())
        places.append(((core * (column - x0)).sum() / core.sum(), (core * (row - y0)).sum() / core.sum()))
    return np.array(fluxes), np.array(places), x, y


@pytest.mark.parametrize("seed", [71, 72, 73])
def test_light_and_places_are_kept(seed):
    reference = build_reference(make_epochs(seed, 15, STARS, spoil=defects), "r", CONFIG)
    flux, off, *_ = measured(reference, STARS)
    bright = STARS.flux > 2e4
    assert np.isfinite(flux).all()
    assert np.median(flux / STARS.flux)[()] == pytest.approx(1, abs=2e-3)
    assert np.std((flux / STARS.flux)[bright]) < 5e-3
    assert np.abs(np.median(off[bright], axis=0)).max() < 0.01
    assert np.std(off[bright]) < 0.02
    assert reference.zero_point == ZERO_POINT
    assert (np.diag(np.array(reference.wcs.cd)) * [-1, 1] > 0).all()


def test_noise_is_as_claimed_and_depth_as_expected():
    empty = dataclasses.replace(STARS, flux=STARS.flux * 0)
    epochs = make_epochs(81, 15, empty)
    reference = build_reference(epochs, "r", CONFIG)
    inner = np.s_[30:-30, 30:-30]
    assert np.median(reference.coverage[inner]) == 15
    # Neighbours share noise: sums of 7 x 7 are as the uncertainty says, single pixels are less.
    image, error = reference.image[inner], reference.uncertainty[inner]
    ny, nx = (side // 7 * 7 for side in image.shape)
    sums = image[:ny, :nx].reshape(ny // 7, 7, nx // 7, 7).sum(axis=(1, 3))
    expected = (error[:ny, :nx] ** 2).reshape(ny // 7, 7, nx // 7, 7).sum(axis=(1, 3))
    assert np.std(sums / np.sqrt(expected)) == pytest.approx(1, abs=0.07)
    assert 0.75 < np.std(image / error) < 0.95
    measures = measure_reference(reference, epochs)
    depths = np.array([e.maglimit for e in epochs])
    assert measures.depth == pytest.approx(1.25 * np.log10((10 ** (0.8 * depths)).sum()), abs=0.05)
    assert measures.depth_gain == pytest.approx(1.25 * np.log10(15), abs=0.25)
    variance = reference.uncertainty[150, 150] ** 2
    lit = build_reference(make_epochs(81, 15, dataclasses.replace(STARS, flux=STARS.flux * 0 + 1e5)), "r")
    flux = lit.image / lit.gain  # what light adds to the variance
    assert np.nanmedian((lit.uncertainty**2 - variance)[flux > 200] / flux[flux > 200]) == pytest.approx(
        1, abs=0.1
    )


@pytest.mark.parametrize("memory_mb", [1.6, 1.0])
def test_strips_change_nothing(memory_mb):
    epochs = make_epochs(91, 7, STARS, spoil=defects)
    whole = build_reference(epochs, "r", CONFIG)
    loads = []

    def counting(epoch):
        return dataclasses.replace(epoch, load=lambda: loads.append(epoch.pid) or epoch.load())

    small = BuildConfig(memory_mb=memory_mb)
    parts = build_reference([counting(e) for e in epochs], "r", small)
    assert len(loads) > 7
    for name in ("image", "uncertainty", "coverage"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_order_and_buffers_change_nothing():
    epochs = make_epochs(92, 6, STARS)
    one = build_reference(epochs, "r", CONFIG)
    again = build_reference(epochs, "r", CONFIG, room=np.full(6 * 400 * 400, np.nan, np.float32))
    np.testing.assert_array_equal(one.image, again.image)
    turned = build_reference(epochs[::-1], "r", CONFIG)
    assert turned.shape == one.shape
    both = np.isfinite(one.image) & np.isfinite(turned.image)
    assert np.abs(one.image - turned.image)[both].max() < 1.0  # of up to 1e4: the grid is nudged by rounding
    assert one.pids == (0, 1, 2, 3, 4, 5)


def test_what_one_epoch_saw_is_gone():
    """An asteroid, a track and a supernova of one night leave nothing."""

    def visit(image, mask, random, wcs):
        image[120:123, :] += 500.0
        image[60:66, 60:66] += 900.0

    clean = make_epochs(93, 15, STARS)
    spoiled = [make_epoch(93, 0, STARS, spoil=visit), *clean[1:]]
    clean = [make_epoch(93, 0, STARS), *clean[1:]]
    reference = build_reference(clean, "r")
    difference = build_reference(spoiled, "r").image - reference.image
    known = np.isfinite(difference)
    near = maximum_filter(np.nan_to_num(reference.image), 7)
    light = (near > 60) | (reference.coverage < 10)  # beside stars samples are free to differ
    assert light.mean() < 0.6
    assert np.abs(difference[known & ~light]).max() < 12  # 500 / 15 had been 33
    assert np.mean(np.abs(difference[known]) > 1) < 0.03


def test_weights_follow_noise_seeing_and_transparency():
    epochs = [
        make_epoch(94, 0, STARS),
        make_epoch(94, 1, STARS, sigma=10.0),
        make_epoch(94, 2, STARS, fwhm_px=3.3),
        make_epoch(94, 3, STARS, zero_point=ZERO_POINT - 0.7526),  # half of the light
    ]
    depth = build_reference(epochs, "r").weights
    np.testing.assert_allclose(depth, [1, 1 / 4, (2.2 / 3.3) ** 2, 1 / 4], rtol=0.06)
    noise = build_reference(epochs, "r", BuildConfig(weight="noise")).weights
    np.testing.assert_allclose(noise, [1, 1 / 4, 1, 1 / 4], rtol=0.06)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_epochs_make_one_too(n):
    epochs = make_epochs(95, n, STARS)
    reference = build_reference(epochs, "r")
    flux, *_ = measured(reference, STARS)
    assert np.median(flux / STARS.flux) == pytest.approx(1, abs=5e-3)
    verdict = judge_reference(measure_reference(reference, epochs))
    assert verdict.status == 0
    assert f"median coverage {n}, under 15" in verdict.reason
    easy = ReferenceQualityConfig(median_coverage=n, coverage=1, depth_gain_mag=-1, nan_fraction=0.1)
    assert judge_reference(measure_reference(reference, epochs, easy), easy).status == 1


def test_verdict_names_every_limit_missed():
    epochs = make_epochs(96, 15, STARS)
    fine = BuildConfig(node_step_px=8)  # edges are a large part of so small an image
    good = measure_reference(build_reference(epochs, "r", fine), epochs)
    assert good.nan_fraction < 0.02
    assert good.low_coverage >= 8
    assert judge_reference(good).reason == ""
    cases = {
        "median_coverage": (14.0, "median coverage 14, under 15"),
        "low_coverage": (7.0, "coverage 7 over 95% of the channel, under 8"),
        "fwhm_arcsec": (3.1, "FWHM 3.10 arcsec, over 3"),
        "depth_gain": (0.7, "0.70 mag deeper than an epoch, under 0.8"),
        "nan_fraction": (0.03, "3.0% without a value, over 2%"),
        "astrometric_rms_arcsec": (0.07, "astrometric RMS 0.070 arcsec, over 0.06"),
        "zero_point_rms": (0.04, "calibrators scatter by 0.040 mag, over 0.03"),
    }
    for name, (value, reason) in cases.items():
        assert judge_reference(dataclasses.replace(good, **{name: value})).reasons == (reason,)
    bad = dataclasses.replace(good, **{name: value for name, (value, _) in cases.items()})
    assert len(judge_reference(bad).reasons) == len(cases)
    assert judge_reference(dataclasses.replace(good, depth_gain=np.nan)).status == 0
    assert np.isnan(point_source_depth(26.0, np.nan, 2.0))


def test_unusable_epochs_are_refused():
    epoch = make_epoch(97, 5, STARS)
    with pytest.raises(UnusableInputError, match="no epochs"):
        build_reference([], "r")
    with pytest.raises(ConfigurationError, match="filter z: no fixed zero point"):
        build_reference([epoch], "z")
    for change in ({"zero_point": np.nan}, {"gain": 0.0}, {"fwhm_arcsec": -1.0}):
        with pytest.raises(UnusableInputError, match="pid 5: an epoch without"):
            build_reference([dataclasses.replace(epoch, **change)], "r")
    with pytest.raises(UnusableInputError, match="without noise"):
        build_reference([dataclasses.replace(epoch, noise=Mesh.constant(0.0, SHAPE))], "r")
    with pytest.raises(ConfigurationError, match="do not hold"):
        build_reference([epoch], "r", BuildConfig(memory_mb=0.01))
    far = deproject(600.0, 0.0, epoch.wcs.crval)
    moved = dataclasses.replace(epoch.wcs, crval=(float(far[0]), float(far[1])))
    with pytest.raises(UnusableInputError, match="take epochs of one field"):
        build_reference([epoch, dataclasses.replace(epoch, wcs=moved)], "r")


def test_an_epoch_without_a_usable_pixel_counts_nothing():
    def ruin(image, mask, random, wcs):
        image[:] = np.nan

    epochs = make_epochs(98, 5, STARS)
    spoiled = [*epochs[:4], make_epoch(98, 4, STARS, spoil=ruin)]
    reference = build_reference(spoiled, "r")
    assert reference.coverage.max() == 4
    assert np.isfinite(reference.image[100:150, 100:150]).all()


def test_which_bits_exclude_pixels_is_configuration():
    def mark(image, mask, random, wcs):
        mask[:] |= MaskBit.HALO.flag

    epochs = make_epochs(99, 3, STARS, spoil=mark)
    assert not build_reference(epochs, "r").coverage.any()
    kept = BuildConfig(unusable_bits=UNUSABLE & ~MaskBit.HALO.flag)
    assert build_reference(epochs, "r", kept).coverage.max() == 3
