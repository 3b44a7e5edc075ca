"""The aperture catalogue of skies whose sources are known."""

import dataclasses

import numpy as np
import pytest
from aperture_builders import GAIN, NOISE, RoundPsf, add_gaussians, add_noise, spread_places

from zsds_tasks.pixels.background import Background
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.fits_tables import N_APERTURES
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.photometry.apertures import ApertureCatalog, ApertureConfig, measure_apertures
from zsds_tasks.science.photometry.apertures_class import ClassConfig, star_probability
from zsds_tasks.science.photometry.apertures_columns import COLUMNS

PSF = RoundPsf(0.95)
CONFIG = ApertureConfig()


def background_of(shape, level=150.0):
    return Background(Mesh.constant(level, shape, 128), Mesh.constant(NOISE, shape, 128))


def measure(image, mask=None, config=CONFIG, **options):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    return measure_apertures(image, mask, background_of(image.shape), GAIN, PSF, config, **options)


def field(seed, n=150, shape=(701, 633), flux=(700.0, 90000.0)):
    """Stars and, every third, a galaxy: a wider ellipse."""
    rng = np.random.default_rng(seed)
    x, y = spread_places(rng, n, shape, 24)
    light = np.exp(rng.uniform(*np.log(flux), n))
    is_star = np.arange(n) % 3 > 0
    image = np.zeros(shape, np.float32)
    own = PSF.sigma**2
    add_gaussians(image, x[is_star], y[is_star], light[is_star], own)
    for k in np.flatnonzero(~is_star):
        add_gaussians(image, x[k : k + 1], y[k : k + 1], light[k : k + 1], own + 1.6, own + 0.6, 0.4)
    return add_noise(image, rng), x, y, light, is_star


def rows_of(catalog, x, y):
    gap = np.hypot(catalog.xwin_image[:, None] - 1 - x, catalog.ywin_image[:, None] - 1 - y)
    rows = gap.argmin(axis=0)
    return rows, gap.min(axis=0) < 1.5


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_what_was_planted_is_found_and_nothing_else(seed):
    image, x, y, light, is_star = field(seed)
    catalog = measure(image)
    rows, found = rows_of(catalog, x, y)
    assert found.mean() > 0.99
    assert len(catalog) - len(np.unique(rows[found])) <= 3
    assert np.all(catalog.number == np.arange(1, len(catalog) + 1))
    bright = found & (light > 5000)
    assert np.all(catalog.class_star[rows[bright & is_star]] > 0.5)
    assert np.all(catalog.class_star[rows[bright & ~is_star]] < 0.5)
    stars = rows[bright & is_star]
    total = -2.5 * np.log10(light[bright & is_star])
    corrected = catalog.mag_aper[stars] + catalog.growth.correction
    off = (corrected - total[:, None])[:, 3]
    pull = off / np.hypot(catalog.magerr_aper[stars, 3], catalog.growth.error[3])
    assert abs(np.median(pull)) < 0.5
    assert 0.7 < 1.4826 * np.median(np.abs(pull)) < 1.4
    assert np.all(np.abs(catalog.mag_auto[stars] - total) < 0.06 + 5 * catalog.magerr_auto[stars])
    galaxies = rows[found & ~is_star & (light > 20000)]
    np.testing.assert_allclose(catalog.elongation[galaxies], 1.393, atol=0.05)
    np.testing.assert_allclose(catalog.thetawin_image[galaxies], 19.3, atol=8)
    np.testing.assert_allclose(np.median(catalog.fwhm_image[stars]), PSF.fwhm, rtol=0.03)


def test_positions_count_from_one_and_flags_say_what_is_wrong():
    shape = (120, 140)
    image, mask = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    places = {
        "plain": (30, 20),
        "edge": (139, 60),
        "saturated": (70, 30),
        "masked": (30, 80),
        "halo": (70, 90),
    }
    x, y = (np.array(p, float) for p in zip(*places.values(), strict=True))
    add_gaussians(image, x, y, np.full(5, 40000.0), PSF.sigma**2)
    add_gaussians(image, [100.0, 105.0], [60.0, 61.0], [30000.0, 20000.0], PSF.sigma**2)
    mask[29:32, 69:72] = MaskBit.SATURATED.flag
    image[29:32, 69:72] = np.nan
    mask[80, 31] = MaskBit.DEAD.flag
    image[80, 31] = 0
    mask[85:95, 65:75] = MaskBit.HALO.flag
    catalog = measure(image, mask)
    rows, found = rows_of(catalog, np.append(x, [100.0, 105.0]), np.append(y, [60.0, 61.0]))
    assert found.all()
    assert len(catalog) == 7
    flags = catalog.flags[rows]
    assert flags.tolist() == [0, 24, 20, 16, 16, 2, 2]
    strict = measure(image, mask, CONFIG.model_copy(update={"neighbour_share": 0.0}))
    assert (strict.flags[rows] & 1).tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert abs(catalog.xwin_image[rows[0]] - 31) < 0.01
    assert abs(catalog.ywin_image[rows[0]] - 21) < 0.01
    assert catalog.imaflags_iso[rows].tolist() == [0, 0, 256, 512, 4096, 0, 0]
    assert np.isnan(catalog.class_star[rows[2]])
    assert catalog.class_star[rows[4]] > 0.5  # in the halo its light is its own
    np.testing.assert_allclose(catalog.flux_aper[rows[[3, 4]], 4], catalog.flux_aper[rows[0], 4], rtol=0.01)
    catalog.mark_detections(mask)
    marked = (mask & MaskBit.DETECTION.flag) != 0
    np.testing.assert_array_equal(marked, catalog.segmentation.labels > 0)
    assert np.count_nonzero(marked) == catalog.isoarea_image.sum()


def test_bits_that_do_not_count_are_left_alone():
    image = np.zeros((60, 60), np.float32)
    add_gaussians(image, [30.0], [30.0], [40000.0], PSF.sigma**2)
    mask = np.full(image.shape, MaskBit.DETECTION.flag | MaskBit.PSF_SOURCE.flag, np.uint16)
    assert measure(image, mask).flags.tolist() == [0]
    mask |= MaskBit.DEAD.flag
    assert len(measure(image, mask)) == 0
    assert measure(image, mask, unusable_bits=0).flags.tolist() == [0]


def test_the_wings_of_a_bright_star_are_no_sources():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:301, 0:301]
    r = np.hypot(x - 150, y - 150)
    image = (60000 * np.exp(-0.5 * (r / 1.2) ** 2) + 40 * np.exp(-r / 40)).astype(np.float32)
    add_noise(image, rng)
    catalog = measure(image)
    loose = measure(image, config=ApertureConfig(stand_out=0.0))
    assert len(loose) > 50
    assert len(catalog) < 0.15 * len(loose)


def test_columns_are_declared_once_and_all_there():
    names = [c.attribute for c in COLUMNS]
    fields = [f.name for f in dataclasses.fields(ApertureCatalog)]
    assert fields == [*names, "growth", "segmentation"]
    image, *_ = field(34, n=20, shape=(200, 210))
    catalog = measure(image)
    for column in COLUMNS:
        array = getattr(catalog, column.attribute)
        assert array.dtype == np.dtype(column.dtype), column.name
        assert array.shape == ((len(catalog), N_APERTURES) if column.width > 1 else (len(catalog),)), (
            column.name
        )
        assert column.width in {1, N_APERTURES}
    np.testing.assert_allclose(catalog.threshold, catalog.segmentation.threshold * NOISE)
    np.testing.assert_allclose(catalog.background, 150)
    assert np.all(catalog.elongation >= 1)
    assert np.all(np.abs(catalog.thetawin_image) <= 90)


def test_nothing_gives_an_empty_catalogue_with_corrections():
    catalog = measure(np.zeros((64, 70), np.float32))
    assert len(catalog) == 0
    assert catalog.flux_aper.shape == (0, N_APERTURES)
    assert catalog.growth.n_stars == 0
    assert np.all(np.isfinite(catalog.growth.correction))


def test_the_same_image_gives_the_same_bits_and_stays_as_it_was():
    image, *_ = field(35, n=60, shape=(400, 420))
    before = image.copy()
    labels = np.full(image.shape, 9, np.int32)
    one, two = measure(image), measure(image, labels=labels)
    np.testing.assert_array_equal(image, before)
    for column in COLUMNS:
        assert getattr(one, column.attribute).tobytes() == getattr(two, column.attribute).tobytes(), (
            column.name
        )
    assert two.segmentation.labels is labels


def test_the_class_is_a_probability_that_follows_extent_and_error():
    config = ClassConfig()
    extent = np.linspace(-2, 4, 61)
    for error in (0.01, 0.3, 1.0):
        p = star_probability(extent, np.full(61, error), config)
        assert np.all((p >= 0) & (p <= 1))
        between = (extent >= 0) & (extent <= config.galaxy_extent)
        assert np.all(np.diff(p[between]) <= 0)
    assert abs(star_probability(np.array([0.7]), np.array([1e3]), config)[0] - 0.5) < 1e-3
    many = ClassConfig(star_share=0.9)
    assert abs(star_probability(np.array([0.7]), np.array([1e3]), many)[0] - 0.9) < 1e-3
    assert np.isnan(star_probability(np.array([np.nan]), np.array([1.0]), config)[0])


def test_classes_are_right_as_often_as_they_say():
    """Drawn from the model itself, the fraction of stars among sources of class p is p."""
    rng = np.random.default_rng(9)
    config = ClassConfig()
    is_star = rng.random(40000) < 0.5
    true = np.where(is_star, config.star_spread * rng.standard_normal(40000), 0)
    galaxy = config.galaxy_extent + config.galaxy_spread * rng.standard_normal(40000)
    error = rng.uniform(0.05, 1.0, 40000)
    seen = np.where(is_star, true, galaxy) + error * rng.standard_normal(40000)
    p = star_probability(seen, error, config)
    positive = seen > 0
    for low in np.arange(0.05, 0.95, 0.15):
        rows = positive & (p >= low) & (p < low + 0.15)
        assert abs(is_star[rows].mean() - p[rows].mean()) < 0.05
