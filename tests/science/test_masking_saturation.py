"""Saturation grows by a pixel and follows bleeds along their columns, but not the wings of stars."""

import numpy as np
import pytest
from masking_builders import calibrate, full_wells, grown

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.saturation import SaturationConfig, mask_saturation
from zsds_tasks.simulator.testbed import SKIES, expose_quadrant

FULL = MaskBit.SATURATED.flag
LEVEL = 50000.0


def make_sky(ny=61, nx=47, seed=1):
    image = np.random.default_rng(seed).normal(0, 5, (ny, nx)).astype(np.float32)
    return image, np.zeros((ny, nx), np.uint16), Mesh.constant(5.0, (ny, nx), 32)


def saturate(image, mask, rows, columns, value=52000.0):
    image[rows, columns] = value
    mask[rows, columns] |= np.uint16(FULL)


def run(image, mask, noise, **changes):
    stats = mask_saturation(image, mask, noise, 6.2, LEVEL, SaturationConfig(**changes))
    return stats, (mask & FULL) > 0


def test_a_saturated_pixel_grows_by_one():
    image, mask, noise = make_sky()
    saturate(image, mask, 30, 20)
    stats, full = run(image, mask, noise)
    assert np.argwhere(full).min(axis=0).tolist() == [29, 19]
    assert full.sum() == 9
    assert (stats.saturated, stats.followed, stats.masked) == (1, 1, 9)


def test_a_bleed_is_followed_to_its_faint_end():
    image, mask, noise = make_sky()
    saturate(image, mask, slice(25, 35), 20)
    image[35:50, 20] = np.linspace(45000, 200, 15)
    _, full = run(image, mask, noise)
    assert full[24:51, 19:22].all()
    assert full.sum() == 27 * 3


def test_tails_next_to_each_other_do_not_hide_each_other():
    image, mask, noise = make_sky()
    for column, last in ((19, 33), (20, 36), (21, 35)):
        saturate(image, mask, slice(25, last), column)
        image[last : last + 8, column] = 3000
    _, full = run(image, mask, noise)
    assert full[25:44, 20].all()
    assert full[25:41, 19].all()
    assert full[25:43, 21].all()


def test_the_wings_of_a_round_star_are_left():
    image, mask, noise = make_sky()
    y, x = np.mgrid[:61, :47]
    image += (90000 * (1 + ((y - 30) ** 2 + (x - 23) ** 2) / 4.0) ** -3).astype(np.float32)
    mask[image > 52000] |= np.uint16(FULL)
    n = np.count_nonzero(mask)
    _, full = run(image, mask, noise)
    assert n > 0
    assert not full[:26].any()
    assert not full[35:].any()


def test_a_bleed_passes_broken_pixels_and_the_border():
    image, mask, noise = make_sky()
    saturate(image, mask, slice(50, 55), 0)
    image[55:61, 0] = 4000
    mask[57, 0] = MaskBit.DEAD.flag
    image[57, 0] = np.nan
    _, full = run(image, mask, noise)
    assert full[55, 0]
    assert full[58:61, 0].all()
    stopped = mask.copy() * 0
    stopped[57, 0] = MaskBit.DEAD.flag
    saturate(image, stopped, slice(50, 55), 0)
    _, full = run(image, stopped, noise, longest_gap=0)
    assert not full[59:, 0].any()


def test_nothing_saturated_changes_nothing():
    image, mask, noise = make_sky()
    mask[3, 4] = MaskBit.NOISY.flag
    before = mask.copy()
    stats, _ = run(image, mask, noise)
    assert stats.masked == 0
    np.testing.assert_array_equal(mask, before)


def test_wrong_input_is_refused():
    image, mask, noise = make_sky()
    with pytest.raises(ValueError, match="pixels"):
        mask_saturation(image[:-1], mask, noise, 6.2, LEVEL, SaturationConfig())
    with pytest.raises(ValueError, match="saturation at 0"):
        mask_saturation(image, mask, noise, 6.2, 0.0, SaturationConfig())


@pytest.mark.parametrize("seed", [21, 22])
def test_planted_bleeds_are_masked_and_little_else(include, seed):
    q = expose_quadrant(
        include, camera="mini", seed=seed, place=SKIES["crowded"], without=("asteroids",), rcid=seed % 8
    )
    c = calibrate(q)
    mask_saturation(c.image, c.mask, c.noise, c.facts.gain, c.stats.saturation_level, SaturationConfig())
    full, truth = (c.mask & FULL) > 0, full_wells(q)
    assert truth.sum() > 10
    assert full[truth].all()
    true = grown(truth | (q.raw >= c.facts.saturation))
    assert full[true].all()
    # What is beyond lies in the cores of saturated stars.
    assert np.count_nonzero(full & ~true) < true.sum()
    assert np.count_nonzero(full & ~grown(true, 6)) < 0.05 * true.sum()
