"""Tracks that cross the image are masked from border to border; whatever else is straight is not."""

import numpy as np
import pytest
from masking_builders import Streak, along, calibrate, with_trails

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.masking.saturation import SaturationConfig, mask_saturation
from zsds_tasks.science.masking.tracks import TrackConfig, mask_tracks
from zsds_tasks.simulator.testbed import SKIES, expose_quadrant

TRACK = MaskBit.TRACK.flag
NOISE, FWHM = 5.0, 2.2
SHAPE = (901, 1007)


def make_sky(seed, n_stars=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, NOISE, SHAPE).astype(np.float32)
    for y0, x0 in rng.uniform(12, [SHAPE[0] - 12, SHAPE[1] - 12], (n_stars, 2)):
        y, x = np.ogrid[int(y0) - 11 : int(y0) + 12, int(x0) - 11 : int(x0) + 12]
        peak = 3 * NOISE * 10 ** rng.exponential(0.5)
        image[y, x] += (peak * np.exp(-2.77 * ((y - y0) ** 2 + (x - x0) ** 2) / FWHM**2)).astype(np.float32)
    return image


def add_line(image, ends, peak, fwhm=FWHM, light=np.ones_like):
    """Add a Gaussian profile along a segment; `light` takes the distance from its start, px."""
    x0, y0, x1, y1 = ends
    length = np.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    t, across = (x - x0) * ux + (y - y0) * uy, (y - y0) * ux - (x - x0) * uy
    profile = np.exp(-2.77 * (across / fwhm) ** 2) * light(t) * ((t >= 0) & (t <= length))
    image += (peak * NOISE * profile).astype(np.float32)


def run(image, mask=None, **changes):
    mask = np.zeros(image.shape, np.uint16) if mask is None else mask
    tracks = mask_tracks(image, mask, Mesh.constant(NOISE, image.shape), FWHM, TrackConfig(**changes))
    return tracks, (mask & TRACK) > 0


def random_ends(seed):
    rng = np.random.default_rng(seed)
    angle, offset = rng.uniform(0, np.pi), rng.uniform(-250, 250)
    along_it, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    middle = np.array([SHAPE[1] / 2, SHAPE[0] / 2]) + offset * across
    return (*(middle - 1500 * along_it), *(middle + 1500 * along_it))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("peak", "fwhm"), [(1.5, FWHM), (1.0, 8.0), (8.0, FWHM), (200.0, 3.5)])
def test_a_track_is_masked_from_border_to_border(seed, peak, fwhm):
    image, ends = make_sky(seed, 800), random_ends(seed)
    add_line(image, ends, peak, fwhm)
    tracks, masked = run(image)
    assert len(tracks) == 1
    assert masked[along(SHAPE, ends, 0.4 * fwhm)].mean() > 0.98
    assert masked.mean() < 1.6 * along(SHAPE, ends, max(1.5 * FWHM, 1.2 * fwhm, 2.5)).mean()
    assert tracks[0].pixels == masked.sum()
    assert tracks[0].lit > 0.8


def test_a_tumbling_body_is_a_track():
    image, ends = make_sky(7, 500), random_ends(3)
    add_line(image, ends, 6.0, light=lambda t: 1 + 0.9 * np.sin(2 * np.pi * t / 170))
    tracks, masked = run(image)
    assert len(tracks) == 1
    assert masked[along(SHAPE, ends, 1)].mean() > 0.98


def test_three_tracks_are_three():
    image = make_sky(8, 300)
    several = [(-50, 100, 1100, 700), (300, -20, 380, 950), (-10, 850, 1030, 790)]
    for ends, peak in zip(several, (3.0, 40.0, 5.0), strict=True):
        add_line(image, ends, peak)
    tracks, masked = run(image)
    assert len(tracks) == 3
    assert tracks[0].significance == max(t.significance for t in tracks)
    for ends in several:
        assert masked[along(SHAPE, ends, 1)].mean() > 0.98


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_stars", [0, 1000, 8000])
def test_without_a_track_nothing_is_masked(seed, n_stars):
    tracks, masked = run(make_sky(100 + seed, n_stars))
    assert tracks == ()
    assert not masked.any()


def test_streaks_of_asteroids_are_left():
    image = make_sky(9, 300)
    add_line(image, (400, 300, 520, 340), 20.0)
    add_line(image, (100, 700, 380, 610), 6.0)
    tracks, masked = run(image)
    assert tracks == ()
    assert not masked.any()


def test_spikes_of_a_bright_star_are_left():
    image = make_sky(10, 300)
    for angle in np.radians([40, 130, 220, 310]):
        ends = (500, 450, 500 + 600 * np.cos(angle), 450 + 600 * np.sin(angle))
        add_line(image, ends, 3000.0, light=lambda t: (1 + np.maximum(t, 0) / 12.0) ** -2.0)
    tracks, masked = run(image)
    assert tracks == ()
    assert not masked.any()


def test_bad_columns_and_rows_are_left():
    image = make_sky(11, 300)
    image[:, 400] += 3 * NOISE
    image[250, :] += 2 * NOISE
    image[:, 700] += 60 * NOISE
    mask = np.zeros(image.shape, np.uint16)
    mask[:, 700] = MaskBit.LOW_RESPONSE.flag
    tracks, _ = run(image, mask)
    assert tracks == ()


def test_a_masked_bleed_is_no_track_and_an_edge_on_galaxy_neither():
    image = make_sky(12, 300)
    add_line(image, (600, 100, 600, 800), 8000.0, 1.0)
    mask = np.zeros(image.shape, np.uint16)
    mask[:, 598:603] = MaskBit.SATURATED.flag
    add_line(image, (200, 400, 330, 470), 15.0, 6.0)
    tracks, masked = run(image, mask)
    assert tracks == ()
    assert not masked.any()


def test_an_unusable_or_tiny_image_has_no_tracks():
    assert run(np.full(SHAPE, np.nan, np.float32))[0] == ()
    assert run(np.zeros((5, 3), np.float32))[0] == ()
    assert run(make_sky(13), np.full(SHAPE, UNUSABLE, np.uint16))[0] == ()


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="FWHM of 0"):
        mask_tracks(
            np.zeros((9, 9), np.float32),
            np.zeros((9, 9), np.uint16),
            Mesh.constant(1.0, (9, 9)),
            0.0,
            TrackConfig(),
        )


@pytest.mark.parametrize("seed", [41, 42])
def test_trails_of_a_scene_are_masked(include, seed):
    q = expose_quadrant(
        include, camera="mini", seed=seed, place=SKIES["ordinary"], without=("asteroids", "satellites")
    )
    free = calibrate(q)
    mask_saturation(
        free.image, free.mask, free.noise, free.facts.gain, free.stats.saturation_level, SaturationConfig()
    )
    assert mask_tracks(free.image, free.mask, free.noise, FWHM, TrackConfig()) == ()
    streaks = [
        Streak((-200, 100 + seed, 1000, 500), 3.0, 1.0),
        Streak((500, -100, 300, 900), 10.0, 2.5, modulation=0.9, period_px=120),
    ]
    raw, trails = with_trails(q, streaks, free.sigma)
    assert len(trails) == 2
    c = calibrate(q, raw)
    mask_saturation(c.image, c.mask, c.noise, c.facts.gain, c.stats.saturation_level, SaturationConfig())
    tracks = mask_tracks(c.image, c.mask, c.noise, FWHM, TrackConfig())
    masked = (c.mask & TRACK) > 0
    assert len(tracks) == 2
    for streak in streaks:
        assert masked[along(c.image.shape, streak.ends, 1)].mean() > 0.98
    assert masked.mean() < 0.05
