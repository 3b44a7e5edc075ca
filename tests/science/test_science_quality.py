"""Measures of a calibrated image find what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.quality.science import (
    ScienceMetrics,
    count_mask,
    double_share,
    expected_noise,
)
from zsds_tasks.settings import REPOSITORY

OF_THE_CALLER = {
    "expid", "rcid", "night", "obsjd", "fid", "ra", "dec", "status", "infobits", "processing_version",
}  # fmt: skip


def test_the_row_has_the_columns_of_image_quality():
    path = Path(REPOSITORY) / "include" / "schemas" / "tables" / "image_quality.yaml"
    declared = [column["name"] for column in yaml.safe_load(path.read_text(encoding="utf-8"))["columns"]]
    row = ScienceMetrics(sky=131.5, n_sources=7).row()
    assert list(row) == [name for name in declared if name not in OF_THE_CALLER]
    assert (row["sky"], row["n_sources"], row["zp30"]) == (131.5, 7, None)


@pytest.mark.parametrize("shape", [(97, 131), (1, 1), (770, 768)])
def test_bits_are_counted(shape):
    random = np.random.default_rng(3)
    mask = np.zeros(shape, np.uint16)
    for bit in MaskBit:
        mask[random.uniform(size=shape) < 0.02 * (1 + bit)] |= bit.flag
    found = count_mask(mask)
    assert found.n_pixels == mask.size
    assert found.masked_fraction == np.count_nonzero(mask & UNUSABLE) / mask.size
    lost = UNUSABLE & ~(MaskBit.GHOST.flag | MaskBit.HALO.flag | MaskBit.SPILLAGE_GHOST.flag)
    assert found.lost_fraction == np.count_nonzero(mask & lost) / mask.size
    for bit in MaskBit:
        assert found.counts[bit] == np.count_nonzero(mask & bit.flag)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_noise_expected_is_that_of_counted_electrons(seed):
    random = np.random.default_rng(seed)
    gain, read_noise, sky = 6.2, 10.0, 120.0
    pixels = (random.poisson(sky * gain, 200_000) + random.normal(0, read_noise, 200_000)) / gain
    assert pixels.std() == pytest.approx(expected_noise(sky, gain, read_noise), rel=0.01)
    assert expected_noise(-3.0, gain, read_noise) == pytest.approx(read_noise / gain)


def stars(seed, n, size=3072.0):
    random = np.random.default_rng(seed)
    return random.uniform(0, size, (2, n)), 10 ** random.uniform(2, 5, n)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("n", "size"), [(60, 768.0), (3000, 3072.0), (40_000, 3072.0)])
def test_stars_strewn_at_random_are_not_double(seed, n, size):
    (x, y), flux = stars(seed, n, size)
    assert double_share(x, y, flux) < 0.15


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("n", "size"), [(60, 768.0), (3000, 3072.0), (15_000, 3072.0)])
def test_a_jump_of_the_telescope_is_seen(seed, n, size):
    (x, y), flux = stars(seed, n, size)
    random = np.random.default_rng(seed)
    jitter = random.normal(0, 0.15, (2, n))
    x2, y2, flux2 = x + 7.3 + jitter[0], y - 4.1 + jitter[1], 0.4 * flux
    seen = random.uniform(size=n) < 0.9
    both = [np.concatenate([a, b[seen]]) for a, b in ((x, x2), (y, y2), (flux, flux2))]
    assert double_share(*both) > 0.45  # of the brightest up to half are second images


def test_few_sources_are_not_judged():
    (x, y), flux = stars(4, 9)
    assert double_share(x, y, flux) == 0.0
    assert double_share(x[:0], y[:0], flux[:0]) == 0.0
