"""Zero point, colour term and saturation limit of a simulated exposure, from plain aperture fluxes."""

from __future__ import annotations

import numpy as np
import pytest

from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.photometry.calibrators import CatalogStars, MeasuredSources
from zsds_tasks.science.photometry.depth import saturation_limit
from zsds_tasks.science.photometry.zeropoint import calibrate
from zsds_tasks.settings import load_settings
from zsds_tasks.simulator.testbed import expose_quadrant

COEFFICIENT = {"g": -0.06, "r": 0.11, "i": -0.02}  # include/config/simulator.yaml
REACH = 16


def calibrated(exposed):
    """The image without everything that was planted, and its mask."""
    detector = exposed.quadrant.detector
    level = fit_overscan(exposed.overscan, exposed.quadrant.amplifier.read_x, OverscanConfig()).level
    raw = exposed.raw - level[:, None]
    linear = raw / (detector.linearity.a * raw**2 + detector.linearity.b * raw + 1)
    mask = np.zeros(raw.shape, np.uint16)
    mask[exposed.raw >= detector.saturation] |= MaskBit.SATURATED.flag
    for where in exposed.defects.values():
        mask[where] |= MaskBit.DEAD.flag
    return (linear - exposed.bias) / (exposed.response * exposed.smooth), mask


def aperture_fluxes(image, mask, x, y, gain, radius=7.0):
    """Flux, error and mask bits within a circle; flags are -1 near the edge."""
    ny, nx = image.shape
    grid = np.arange(-REACH, REACH + 1)
    flux, error, flags = np.full(len(x), np.nan), np.full(len(x), np.nan), np.full(len(x), -1)
    for k, (column, row) in enumerate(zip(x - 1, y - 1, strict=True)):
        i, j = round(row), round(column)
        if not (REACH <= i < ny - REACH and REACH <= j < nx - REACH):
            continue
        cut = np.s_[i - REACH : i + REACH + 1, j - REACH : j + REACH + 1]
        pixels, bits = image[cut], mask[cut]
        away = np.hypot(grid + j - column, (grid + i - row)[:, None])
        inside = np.clip(radius + 0.5 - away, 0, 1)
        ring = pixels[(away > 10) & (away < 15) & (bits == 0)]
        middle = np.median(ring)
        noise = 1.4826 * np.median(np.abs(ring - middle))
        sky = ring[np.abs(ring - middle) < 3 * noise].mean()
        flux[k] = np.sum(inside * (pixels - sky))
        error[k] = np.sqrt(np.sum(inside**2) * noise**2 * 1.2 + max(flux[k], 0) / gain)
        flags[k] = np.bitwise_or.reduce(bits[away < 5].astype(int))
    return flux, error, flags


@pytest.fixture(scope="module", params=[(91, "zg", 1), (91, "zr", 6), (91, "zi", 3)], ids=lambda p: p[1])
def field(request):
    seed, code, rcid = request.param
    exposed = expose_quadrant(load_settings().include, camera="mini", seed=seed, filtercode=code, rcid=rcid)
    image, mask = calibrated(exposed)
    truth = {name: exposed.detections[name].to_numpy() for name in ("x", "y", "ra", "dec", "mag", "flux_dn")}
    truth = {name: values[truth["mag"] < 20.5] for name, values in truth.items()}
    gain = exposed.quadrant.detector.gain
    flux, error, flags = aperture_fluxes(image, mask, truth["x"], truth["y"], gain)
    sources = MeasuredSources(
        truth["x"], truth["y"], truth["ra"], truth["dec"], flux, error, flags, np.ones(len(flux))
    )
    _, rows = exposed.catalogs(0.25)
    stars = CatalogStars.from_columns({name: rows[name].to_numpy() for name in rows.column_names})
    found = calibrate(sources, stars, exposed.exposure.filter.name, image.shape)
    return exposed, image, mask, truth, sources, found


def test_zero_point_and_colour_term_are_those_of_the_exposure(field):
    exposed, _, _, truth, sources, found = field
    exposure = exposed.exposure
    # The aperture misses some light of every star alike: what it misses is known from the true fluxes.
    used = found.source
    missed = np.median(2.5 * np.log10(truth["flux_dn"][used] / sources.flux[used]))
    true = exposure.zero_point + 2.5 * np.log10(exposure.nominal_gain / exposed.quadrant.detector.gain)
    assert found.nmatches > 30
    assert abs(found.magzp + missed - true) < max(0.01, 3 * found.magzpunc)
    assert abs(found.clrcoeff - COEFFICIENT[exposure.filter.name]) < 3.5 * found.clrcounc
    assert found.magzpunc < 0.01
    assert found.zpmed == pytest.approx(found.magzp + found.clrcoeff * found.clrmed, abs=0.02)
    assert 0.7 < found.pull < 1.6


def test_stars_saturate_where_the_limit_says(field):
    exposed, image, mask, truth, _, found = field
    sky = float(np.median(image))
    ny, nx = image.shape
    # The PSF's peak as the image shows it: of bright stars that do not saturate, highest pixel over flux.
    peaks, saturated = np.full(len(truth["x"]), np.nan), np.zeros(len(truth["x"]), bool)
    for k, (column, row) in enumerate(zip(truth["x"] - 1, truth["y"] - 1, strict=True)):
        i, j = round(row), round(column)
        if 2 <= i < ny - 2 and 2 <= j < nx - 2:
            cut = np.s_[i - 1 : i + 2, j - 1 : j + 2]
            peaks[k] = (image[cut].max() - sky) / truth["flux_dn"][k]
            saturated[k] = bool((mask[cut] & MaskBit.SATURATED.flag).any())
    bright = (truth["mag"] > 14.5) & (truth["mag"] < 17.5) & ~saturated & np.isfinite(peaks)
    room = exposed.quadrant.detector.saturation - exposed.overscan.mean() - sky
    # On a pixel's centre the peak is at its highest; most stars lie beside it and saturate a little later.
    limit = saturation_limit(found.magzp, room, float(np.quantile(peaks[bright], 0.9)))
    known = np.isfinite(peaks)
    assert not saturated[known & (truth["mag"] > limit + 0.4)].any()
    assert saturated[known & (truth["mag"] < limit - 1.0)].all()
