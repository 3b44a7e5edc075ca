"""Planted cosmic rays get their bit, stars do not, in any seeing and crowding."""

import numpy as np
import pytest
from masking_builders import calibrate, grown, planted_counts

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.masking.saturation import SaturationConfig, mask_saturation
from zsds_tasks.science.masking.spikes import SpikeMaskConfig, mask_spikes
from zsds_tasks.simulator.testbed import SKIES

SPIKE = MaskBit.SPIKE.flag


def test_events_are_groups_of_touching_pixels():
    image = np.random.default_rng(1).normal(0, 5, (60, 70)).astype(np.float32)
    for y, x in ((5, 5), (6, 6), (7, 7), (30, 40), (50, 3)):
        image[y, x] += 600
    mask = np.zeros(image.shape, np.uint16)
    mask[20, 20] = MaskBit.DEAD.flag
    stats = mask_spikes(image, mask, Mesh.constant(5.0, image.shape), 6.2, SpikeMaskConfig())
    assert (stats.pixels, stats.events) == (5, 3)
    assert np.count_nonzero(mask & SPIKE) == 5
    assert mask[20, 20] == MaskBit.DEAD.flag
    assert stats.fwhm == SpikeMaskConfig().least_fwhm_px  # no stars, none given


def test_a_given_width_counts_only_if_it_is_narrower():
    image = np.zeros((40, 50), np.float32)
    mask, noise = np.zeros(image.shape, np.uint16), Mesh.constant(5.0, image.shape)
    assert mask_spikes(image, mask, noise, 6.2, SpikeMaskConfig(), 2.2).fwhm == 2.2
    assert mask_spikes(image, mask, noise, 6.2, SpikeMaskConfig(), float("nan")).fwhm == 1.5
    y, x = np.mgrid[:40, :50]
    for cy, cx in np.random.default_rng(2).uniform(4, 36, (60, 2)):
        image += (4000 * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / 1.8**2)).astype(np.float32)
    many = SpikeMaskConfig(core={"least_peaks": 10})
    assert mask_spikes(image, mask, noise, 6.2, many, 4.0).fwhm == pytest.approx(1.8, rel=0.1)
    assert not mask.any()


@pytest.mark.parametrize(("seed", "sky", "seeing"), [(31, "ordinary", 1.2), (32, "ordinary", 3.0)])
def test_planted_cosmic_rays_are_masked_and_stars_are_not(include, seed, sky, seeing):
    what = {"camera": "mini", "seed": seed, "place": SKIES[sky], "rcid": seed % 8}
    q, counts = planted_counts(
        include, "cosmic_rays", seeing_arcsec=seeing, without=("asteroids", "satellites"), **what
    )
    c = calibrate(q)
    mask_saturation(c.image, c.mask, c.noise, c.facts.gain, c.stats.saturation_level, SaturationConfig())
    usable = (c.mask & UNUSABLE) == 0
    mask_spikes(c.image, c.mask, c.noise, c.facts.gain, SpikeMaskConfig())
    marked, planted = (c.mask & SPIKE) > 0, (counts > 0) & usable
    assert marked[planted].mean() > 0.85
    assert np.count_nonzero(marked & ~grown(counts > 0)) <= 1
    x, y = (np.rint(q.detections[name].to_numpy()).astype(int) - 1 for name in "xy")
    inside = (x >= 0) & (y >= 0) & (x < 768) & (y < 770)
    x, y = x[inside], y[inside]
    clean = ~grown(counts > 0, 3)[y, x]
    assert not marked[y, x][clean].any()
