"""The point sources of a quadrant: psfcat's columns, the PSF with them, and a reason where there is none."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.photometry.psf_sources import (
    PointSourcesConfig,
    box_flags,
    measure_point_sources,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "pixels"))

from psf_builders import GAIN, NOISE, Optics, nearest, robust_width, star_field

COLUMNS = ("sourceid", "xpos", "ypos", "flux", "sigflux", "sigx", "sigy", "snr", "chi", "sharp", "n_pixels")


def measured(field, mask=None, **options):
    mask = field.mask if mask is None else mask
    return measure_point_sources(field.image, mask, field.noise, GAIN, PointSourcesConfig(), **options)


@pytest.mark.parametrize(("seed", "fwhm"), [(301, 1.7), (302, 2.2), (303, 4.0)])
def test_a_field_is_measured_from_nothing_but_its_pixels(seed, fwhm):
    field = star_field(seed, n=450, optics=Optics(fwhm), flux=(400, 80_000), shape=(620, 701))
    found = measured(field)
    index, distance = nearest(field.x + 1, field.y + 1, found.xpos, found.ypos)
    bright = field.flux > 8000
    assert np.mean(distance[bright] < 0.1) > 0.97
    assert np.mean(distance[field.flux > 30 * NOISE * fwhm] < 1) > 0.95
    good = bright & (distance < 0.1)
    errors = found.flux[index[good]] / field.flux[good] - 1
    pulls = (found.flux[index[good]] - field.flux[good]) / found.sigflux[index[good]]
    assert abs(np.median(errors)) < 0.01
    assert robust_width(errors) < 0.015
    assert 0.8 < robust_width(pulls) < 1.5  # neighbours and the PSF's own noise in a small field
    assert found.psf.degree == 2
    assert found.psf.n_stars >= 60


def test_columns_are_psfcats_and_sorted():
    found = measured(star_field(5, n=200))
    for name in COLUMNS:
        assert getattr(found, name).shape == (len(found),)
    assert np.array_equal(found.sourceid, np.arange(len(found)))
    assert np.array_equal(np.lexsort((found.xpos, found.ypos)), found.sourceid)
    np.testing.assert_allclose(found.snr, found.flux / found.sigflux)
    assert np.all(found.sigflux > 0)
    assert np.all((found.xpos > 0.5) & (found.xpos < 601.5) & (found.ypos > 0.5) & (found.ypos < 520.5))


def test_the_residual_is_returned_only_if_asked_for_and_scratch_changes_nothing():
    field = star_field(6, n=200)
    plain = measured(field)
    scratch = np.full(field.image.shape, np.nan, np.float32)
    kept = measured(field, scratch=scratch, keep_residual=True)
    assert plain.residual is None
    assert kept.residual is scratch
    assert np.std(kept.residual) < 1.3 * NOISE
    for f in dataclasses.fields(plain):
        if isinstance(getattr(plain, f.name), np.ndarray):
            assert np.array_equal(getattr(plain, f.name), getattr(kept, f.name)), f.name


def test_signal_bits_do_not_lose_sources_and_unusable_ones_do():
    field = star_field(7, n=200)
    signal = np.full(field.mask.shape, MaskBit.DETECTION.flag | MaskBit.PSF_SOURCE.flag, np.uint16)
    assert len(measured(field, signal)) == len(measured(field))
    half = signal.copy()
    half[:, :300] |= MaskBit.HALO.flag
    assert measured(field, half).xpos.min() > 295


@pytest.mark.parametrize("n", [0, 2])
def test_too_few_stars_are_a_reason_with_counts(n):
    field = star_field(3, n=max(n, 1), flux=(20_000, 50_000), spacing=50)
    if n == 0:
        field = dataclasses.replace(field, image=np.zeros_like(field.image))
    with pytest.raises(UnusableInputError, match="too few stars make a PSF") as caught:
        measured(field)
    facts = caught.value.facts
    assert facts["cause"] == "too_few_stars"
    assert facts["peaks"] == n
    assert facts["agreeing"] <= n < facts["needed"]


def test_images_of_different_shapes_are_refused():
    field = star_field(3, n=20)
    with pytest.raises(ValueError, match="differ in shape"):
        measured(field, field.mask[:-1])


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3), st.integers(0, 999))
def test_box_flags_are_the_or_of_the_box(ny, nx, half, seed):
    rng = np.random.default_rng(seed)
    mask = (1 << rng.integers(0, 13, (ny, nx))).astype(np.uint16) * (rng.random((ny, nx)) < 0.2)
    mask = mask.astype(np.uint16)
    x, y = rng.uniform(-2, nx + 3, 25), rng.uniform(-2, ny + 3, 25)
    flags = box_flags(mask, x, y, half)
    assert flags.dtype == np.int32
    for k in range(25):
        column, row = int(np.rint(x[k])) - 1, int(np.rint(y[k])) - 1
        if not (half <= row < ny - half and half <= column < nx - half):
            assert flags[k] == -1
            continue
        box = mask[row - half : row + half + 1, column - half : column + half + 1]
        expected = int(np.bitwise_or.reduce(box.ravel())) & ~(2 | 2048)
        assert flags[k] == expected
        assert flags[k] & ~UNUSABLE == 0
