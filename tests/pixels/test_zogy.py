"""Proper subtraction obeys its formulas, tile by tile and as a whole frame."""

import numpy as np
import pytest
from difference_builders import TruePsf, draw, make_pair, places, robust_width
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.subtraction import Buffers, Tiles
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames
from zsds_tasks.pixels.zogy_psf import PsfPair, StampTransform, difference_model
from zsds_tasks.pixels.zogy_tile import TileWork, subtract_tile

PLAIN = ZogyConfig(psf_error=0.0, alias_px=0.0)
BAD = 1


def gaussian(fwhm, size=25):
    k = np.arange(size) - size // 2
    stamp = np.exp(-4 * np.log(2) * (k[:, None] ** 2 + k**2) / fwhm**2)
    return stamp / stamp.sum()


def flat(value, shape):
    return np.full(shape, value, np.float32)


def plain_zogy(new, ref, pair, variances, registration=(0.0, 0.0)):
    """The formulas of reference section 6.4 in double precision, all of them by whole transforms."""

    def spectrum(image):
        whole = np.zeros(new.shape)
        whole[: len(image), : len(image)] = image
        return np.fft.fft2(np.roll(whole, (-(len(image) // 2),) * 2, (0, 1)))

    def back(part):
        return np.fft.ifft2(part).real

    p, q = spectrum(pair.new), spectrum(pair.ref)
    n, r = np.fft.fft2(new.astype(float)), np.fft.fft2(ref.astype(float))
    den2 = pair.new_sigma**2 * abs(q) ** 2 + pair.ref_sigma**2 * abs(p) ** 2
    f_d = 1 / np.hypot(pair.new_sigma, pair.ref_sigma)
    d, p_d = (q * n - p * r) / np.sqrt(den2), p * q / (f_d * np.sqrt(den2))
    k_n, k_r = np.conj(p) * abs(q) ** 2 / den2, np.conj(q) * abs(p) ** 2 / den2
    s_n, s_r = back(k_n * n), back(k_r * r)
    v = sum(
        back(np.fft.fft2(v.astype(float)) * np.fft.fft2(back(k) ** 2))
        for v, k in zip(variances, (k_n, k_r), strict=True)
    )
    for s in (s_n, s_r):
        for axis, sigma in ((1, registration[0]), (0, registration[1])):
            v = v + sigma**2 * ((np.roll(s, -1, axis) - np.roll(s, 1, axis)) / 2) ** 2
    by_difference = back(f_d * d * np.conj(p_d))
    return {
        "d": back(d), "f_d": f_d, "p_d": back(p_d), "s": s_n - s_r, "s_from_d": by_difference,
        "s_corr": (s_n - s_r) / np.sqrt(v), "f_s": float(np.mean(abs(p) ** 2 * abs(q) ** 2 / den2)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def setting():
    """The numerical set-up of reference section 6.4: 1024^2, noise 5 and 1.5, FWHM 2.6 and 2.1 px, 500 DN."""
    rng = np.random.default_rng(64)
    shape = (1024, 1024)
    pair = PsfPair(gaussian(2.6), gaussian(2.1), 5.0, 1.5)
    new, ref = rng.normal(0, 5.0, shape), rng.normal(0, 1.5, shape)
    blank = subtract_tile(
        new.astype(np.float32), ref.astype(np.float32), (flat(25.0, shape), flat(2.25, shape)), pair
    )
    new[300 - 12 : 300 + 13, 700 - 12 : 700 + 13] += 500.0 * pair.new
    return pair, new.astype(np.float32), ref.astype(np.float32), blank


def test_the_set_up_of_the_reference_gives_its_numbers(setting):
    pair, new, ref, blank = setting
    shape = new.shape
    variances = (flat(25.0, shape), flat(2.25, shape))
    found, truth = subtract_tile(new, ref, variances, pair), plain_zogy(new, ref, pair, variances)
    assert blank.difference.std() / blank.noise == pytest.approx(1.0, abs=0.005)
    assert blank.corrected.std() == pytest.approx(1.0, abs=0.01)
    assert truth["p_d"].sum() == pytest.approx(1.0, abs=1e-9)
    assert pair.difference_psf().sum() == pytest.approx(1.0, abs=1e-5)
    assert found.psf.sum() == pytest.approx(1.0)
    # Both expressions of F_S, and both of S, are one.
    assert found.flux_score == pytest.approx(truth["f_s"], rel=1e-6)
    assert (found.psf**2).sum() / found.noise**2 == pytest.approx(found.flux_score, rel=1e-4)
    assert np.abs(truth["s"] - truth["s_from_d"]).max() < 1e-12
    assert np.abs(found.difference / found.noise - truth["d"]).max() < 1e-4
    assert np.abs(found.score - truth["s"]).max() < 1e-5 * truth["s"].max()
    assert np.abs(found.corrected - truth["s_corr"]).max() < 1e-3 * truth["s_corr"].max()
    flux, error = found.score[300, 700] / found.flux_score, 1 / np.sqrt(found.flux_score)
    assert error == pytest.approx(20.2, abs=0.2)
    assert abs(flux - 500.0) < 3 * error


def test_a_source_of_any_flux_is_measured_without_bias(setting):
    pair, *_ = setting
    rng = np.random.default_rng(7)
    shape, error = (512, 512), 1 / np.sqrt(pair.flux_score())
    pulls, ratios = [], []
    for flux in (25 * error, 60 * error):
        ref = rng.normal(0, 1.5, shape)
        y, x = (v.ravel() for v in np.mgrid[24:500:40, 24:500:40])
        light = np.zeros(shape)
        for i, j in zip(y, x, strict=True):
            light[i - 12 : i + 13, j - 12 : j + 13] += flux * pair.new
        new = (light + rng.normal(0, 5.0, shape)).astype(np.float32)
        found = subtract_tile(new, ref.astype(np.float32), (flat(25.0, shape), flat(2.25, shape)), pair)
        measured = found.score[y, x] / found.flux_score
        pulls.append((measured - flux) / error)
        ratios.append(measured.mean() / flux)
    assert ratios == pytest.approx([1.0, 1.0], abs=0.01)
    assert np.std(np.concatenate(pulls)) == pytest.approx(1.0, abs=0.1)


@given(
    st.floats(1.6, 4.5), st.floats(1.6, 4.5), st.floats(0.5, 30.0), st.floats(0.3, 10.0), st.integers(0, 99)
)
@settings(max_examples=15)
def test_the_formulas_hold_for_any_seeing_and_noise(fwhm, ref_fwhm, sigma, ref_sigma, seed):
    rng = np.random.default_rng(seed)
    shape = (96, 108)
    pair = PsfPair(gaussian(fwhm), gaussian(ref_fwhm), sigma, ref_sigma, 1e-9)
    new, ref = (rng.normal(0, s, shape).astype(np.float32) for s in (sigma, ref_sigma))
    new[40:43, 50:52] += 300 * np.float32(sigma)
    variances = tuple((s**2 * (1 + rng.random(shape))).astype(np.float32) for s in (sigma, ref_sigma))
    found = subtract_tile(new, ref, variances, pair, (0.2, 0.1))
    truth = plain_zogy(new, ref, pair, variances, (0.2, 0.1))
    assert np.abs(found.score - truth["s"]).max() < 1e-4 * np.abs(truth["s"]).max()
    # The variance's kernels are cut where they hold 99.8 %.
    assert np.allclose(found.corrected, truth["s_corr"], rtol=0.02, atol=0.002)
    swapped = PsfPair(pair.ref, pair.new, ref_sigma, sigma, 1e-9)
    other = subtract_tile(ref, new, variances[::-1], swapped, (0.2, 0.1))
    assert np.array_equal(other.difference, -found.difference)
    assert np.allclose(other.corrected, -found.corrected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gain", [6.2, 1.0])
def test_the_noise_of_blank_sky_is_that_of_the_sky(gain):
    rng = np.random.default_rng(int(gain))
    sky, shape = 25.0 / gain, (400, 480)  # 625 electrons
    image = (rng.poisson(625.0, shape) / gain - 625.0 / gain).astype(np.float32)
    frame = Frame(image, Mesh.constant(sky, shape, 64), gain, None)
    out, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    frame.load(0, 0, out, variance)
    assert np.mean(variance) == pytest.approx(sky**2, rel=2e-3)
    image[:] = -1e6  # a pit that nobody masked
    frame.load(0, 0, out, variance)
    assert variance == pytest.approx(sky**2 - 2 * sky / gain)
    image[:] = 1e6
    frame.load(0, 0, out, variance)
    assert variance == pytest.approx(sky**2 + 1e6 / gain)
    few = Frame(image - 2e6, Mesh.constant(sky, shape, 64), 1 / sky, None)
    few.load(0, 0, out, variance)
    assert variance == pytest.approx(0.1 * sky**2)


def test_the_transform_of_a_stamp_is_that_of_the_padded_one():
    stamp, shape = gaussian(2.3) * np.linspace(0.5, 1.5, 25), (48, 54)
    out = np.empty((48, 28), np.complex64)
    StampTransform.of(shape, 25)(stamp, out)
    whole = np.zeros(shape)
    whole[:25, :25] = stamp
    expected = np.fft.rfft2(np.roll(whole, (-12, -12), (0, 1)))
    assert np.abs(out - expected).max() < 1e-6


def frames(pair, **changes):
    s = pair.settings
    new = Frame(pair.new, pair.new_noise, s.gain, pair.new_psf)
    ref = Frame(pair.ref, pair.ref_noise, s.ref_gain, pair.ref_psf, **changes)
    return new, ref


def subtract(pair, config=PLAIN, registration=(0.0, 0.0), mask=None, **changes):
    mask = np.zeros(pair.new.shape, np.uint16) if mask is None else mask
    return subtract_frames(*frames(pair, **changes), mask, BAD, registration, config)


@pytest.fixture(scope="module")
def blank():
    return make_pair(50, shape=(641, 577), stars=0, galaxies=0, transients=0)


def test_blank_sky_is_white_noise_of_the_expected_size(blank):
    found = subtract(blank)
    for tile in range(len(found.tiles)):
        core = found.tiles.core_of(tile)
        assert found.difference[core].std() / found.noise[tile] == pytest.approx(1.0, abs=0.02)
        assert found.score[core].std() == pytest.approx(1.0, abs=0.05)
    neighbours = np.corrcoef(found.difference[:, :-1].ravel(), found.difference[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.01


def test_false_peaks_come_as_often_as_the_formula_says():
    count = expected = 0.0
    for seed in range(3):
        pair = make_pair(90 + seed, shape=(900, 900), stars=0, galaxies=0, transients=0)
        found = subtract(pair)
        score = found.score
        is_peak = (score == ndimage.maximum_filter(score, 3)) & (score > 3.5)
        count += is_peak.sum()
        # Reference section 6.4: pixels see about half of the peaks of the smooth field.
        expected += 0.176 * score.size / (2 * found.fwhms[0] ** 2) * 3.5 * np.exp(-(3.5**2) / 2)
    assert count == pytest.approx(expected, rel=0.2)


def test_tile_borders_do_not_show():
    pair = make_pair(51)
    still = {name: TruePsf(f, pair.new.shape, slope=0.0) for name, f in (("new", 2.4), ("ref", 2.0))}
    mask = np.zeros(pair.new.shape, np.uint16)
    s = pair.settings
    arguments = (
        Frame(pair.new, pair.new_noise, s.gain, still["new"]),
        Frame(pair.ref, pair.ref_noise, s.ref_gain, still["ref"]),
        mask, BAD, (0.05, 0.05),
    )  # fmt: skip
    small = subtract_frames(*arguments, PLAIN.model_copy(update={"tile_px": 130}))
    whole = subtract_frames(*arguments, PLAIN.model_copy(update={"tile_px": 2000, "least_tiles": 1}))
    assert len(small.tiles) == 20
    assert len(whole.tiles) == 1
    # Small frames have several PSFs too.
    assert min(subtract_frames(*arguments, ZogyConfig()).tiles.grid) == ZogyConfig().least_tiles
    assert np.abs(small.difference - whole.difference).max() < 0.02 * whole.noise[0]
    assert np.abs(small.score - whole.score).max() < 0.01


def test_nothing_wraps_around_an_edge():
    pair = make_pair(52, stars=0, galaxies=0, transients=0)
    pair.new[2:6, 300:304] += 1e6
    dark = make_pair(52, stars=0, galaxies=0, transients=0)
    changed = np.abs(subtract(pair).difference - subtract(dark).difference)
    assert changed[60:].max() < 0.1 * pair.settings.new_noise


def test_a_frame_is_scaled_and_levelled_before():
    pair, plain = make_pair(53, factor=3.0), make_pair(53)
    level = Mesh.constant(40.0, pair.new.shape, 64)
    pair.ref[:] += 40.0
    found = subtract(pair, scale=(1 / 3, 0.0, 0.0), level=level)
    assert robust_width(found.difference - subtract(plain).difference) < 2.0 * pair.settings.ref_noise
    assert found.score.std() == pytest.approx(subtract(plain).score.std(), rel=0.03)


def test_a_slope_of_the_scale_acts_on_every_pixel():
    pair = make_pair(54, stars=0, galaxies=0, transients=0)
    pair.new[:], pair.ref[:] = 0.0, 100.0
    found = subtract(pair, scale=(1.0, 0.1, -0.2))
    v, u = np.mgrid[-1:1:641j, -1:1:577j]
    inner = np.s_[40:-40, 40:-40]
    assert np.allclose(found.difference[inner], -100 * (1 + 0.1 * u - 0.2 * v)[inner], rtol=0.003)


def test_holes_are_marked_grown_and_leave_no_trace():
    pair = make_pair(55, stars=60, transients=0, brightest=30_000.0)
    clean = subtract(pair)
    rng = np.random.default_rng(1)
    mask = np.zeros(pair.new.shape, np.uint16)
    y, x = rng.integers(20, 540, (2, 300))
    mask[y, x] = BAD
    pair.new[y[:100], x[:100]] = np.nan
    pair.ref[y[100:200], x[100:200]] = np.inf
    mask[y[:200], x[:200]] = 0
    found = subtract(pair, mask=mask)
    holes = np.zeros(mask.shape, bool)
    holes[y, x] = True
    grown = ndimage.binary_dilation(holes, np.ones((3, 3)))
    assert np.isnan(found.score[holes]).all()
    assert np.array_equal(np.isnan(found.score), np.isnan(found.difference))
    assert np.isnan(found.score[grown]).all()
    assert np.isnan(found.score).mean() < 3 * grown.mean()
    beside = ndimage.binary_dilation(grown, iterations=3) & np.isfinite(found.score)
    assert np.abs(found.score[beside]).max() < np.abs(clean.score[beside]).max() + 1.5
    assert np.nanstd(found.score) == pytest.approx(clean.score.std(), rel=0.05)


def test_a_saturated_star_leaves_no_peak_beside_it():
    pair = make_pair(56, stars=0, galaxies=0, transients=0)
    rng = np.random.default_rng(2)
    y, x = rng.uniform(60, 500, (2, 12))
    for image, psf in ((pair.new, pair.new_psf), (pair.ref, pair.ref_psf)):
        image[:] += draw(psf, x, y, np.full(12, 1.5e6)).astype(np.float32)
    mask = ((pair.new > 50_000) | (pair.ref > 50_000)).astype(np.uint16)
    np.minimum(pair.new, 50_000, out=pair.new)
    found = subtract(pair, mask=mask, registration=(0.05, 0.05), config=ZogyConfig())
    assert mask.sum() > 100
    assert np.nanmax(np.abs(found.score)) < 5.0
    assert np.isnan(found.score).mean() < 0.03


def test_the_registration_term_hides_dipoles_and_keeps_transients():
    pair = make_pair(57, shift=(0.08, -0.05), stars=400, galaxies=0)
    sharp, tolerant = subtract(pair), subtract(pair, registration=(0.08, 0.05))
    near = np.zeros(pair.new.shape, bool)
    near[np.rint(pair.ty).astype(int), np.rint(pair.tx).astype(int)] = True
    near = ndimage.binary_dilation(near, iterations=8)
    assert (np.abs(sharp.score[~near]) > 5).sum() > 50
    assert (np.abs(tolerant.score[~near]) > 5).sum() < 10
    lonely = np.abs(pair.tflux) > 500
    row, column = np.rint(pair.ty[lonely]).astype(int), np.rint(pair.tx[lonely]).astype(int)
    assert (np.abs(tolerant.score[row, column]) > 5).mean() > 0.9


@pytest.mark.parametrize("fwhm", [1.6, 1.8, 2.1, 2.6])
def test_aliasing_is_the_light_beyond_the_highest_frequency(fwhm):
    pair = PsfPair(gaussian(fwhm), gaussian(3.5), 1.0, 1.0)
    expected = 2 * np.exp(-((np.pi * fwhm / 2.3548) ** 2) / 2)  # from both sides of the highest frequency
    assert pair.aliasing == pytest.approx((expected, expected), rel=0.03)
    assert PsfPair(gaussian(3.5), gaussian(fwhm), 1.0, 1.0).aliasing == pair.aliasing


def test_stars_too_sharp_for_their_pixels_count_as_displaced():
    pair = make_pair(64, stars=150, galaxies=0, transients=0)
    errors = [
        np.abs(subtract(pair, PLAIN.model_copy(update={"alias_px": k})).score).max() for k in (0.0, 1.0)
    ]
    by_hand = np.abs(subtract(pair, registration=(0.02, 0.02)).score).max()
    assert errors[1] < errors[0]
    assert by_hand < errors[0]


def test_a_new_source_has_no_noise_of_registration_and_a_star_has_all_of_it():
    pair = make_pair(62, stars=0, galaxies=0, transients=30, transient_flux=(600.0, 5000.0))
    poor = (0.25, 0.25)
    published = subtract(pair, PLAIN.model_copy(update={"slopes": "both"}), registration=poor).score
    common, without = subtract(pair, registration=poor).score, subtract(pair).score
    row, column = np.rint(pair.ty).astype(int), np.rint(pair.tx).astype(int)
    assert np.median(np.abs(common[row, column] / without[row, column])) > 0.95
    assert np.median(np.abs(published[row, column] / without[row, column])) < 0.6
    stars = make_pair(63, stars=150, galaxies=0, transients=0, shift=(0.05, 0.05))
    both = subtract(stars, PLAIN.model_copy(update={"slopes": "both"}), registration=poor).score
    assert np.abs(subtract(stars, registration=poor).score).max() < 1.2 * np.abs(both).max()


def test_the_psf_of_the_difference_is_what_a_new_source_looks_like():
    shape = (400, 400)
    pair = make_pair(58, shape=shape, stars=0, galaxies=0, transients=0)
    pair.new[:], pair.ref[:] = 0.0, 0.0
    still = TruePsf(2.0, shape, slope=0.0)
    new = Frame(pair.new, pair.new_noise, 6.2, still)
    ref = Frame(pair.ref, pair.ref_noise, 90.0, pair.ref_psf)
    x, y = places(np.random.default_rng(0), 30, shape, 60.0, 40.0)
    pair.new[:] = draw(still, x, y, np.full(len(x), 1000.0))
    found = subtract_frames(new, ref, np.zeros(shape, np.uint16), BAD, (0.0, 0.0), PLAIN)
    for sx, sy in zip(x, y, strict=True):
        j, i = round(sx), round(sy)
        seen = found.difference[i - 8 : i + 9, j - 8 : j + 9]
        model = 1000 * found.psf_at(sx, sy).stamp(0, 0, 17, (sx - j, sy - i))
        assert np.abs(seen - model).max() < 0.004 * model.max()
    assert found.psf_stamp().sum() == pytest.approx(1.0, abs=1e-4)
    middle = PsfPair(
        still.stamp(200, 200).astype(float), pair.ref_psf.stamp(200, 200).astype(float), 8.0, 2.5
    )
    assert difference_model(still, middle, (200.0, 200.0), 3).fwhm == pytest.approx(found.fwhms[0], abs=0.02)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(128, 700))
def test_tiles_cover_a_frame_once(ny, nx, wanted):
    tiles = Tiles.of((ny, nx), wanted)
    seen = np.zeros((ny, nx), int)
    for k in range(len(tiles)):
        seen[tiles.core_of(k)] += 1
        x, y = tiles.middle(k)
        assert tiles.at(np.array([x]), np.array([y]))[0] == k
    assert (seen == 1).all()


def test_buffers_are_used_again():
    pair = make_pair(59, shape=(200, 170), stars=20, transients=2)
    buffers = Buffers.of((200, 170))
    mask = np.zeros((200, 170), np.uint16)
    first = subtract_frames(*frames(pair), mask, BAD, (0.1, 0.1), PLAIN, buffers)
    kept = first.score.copy()
    again = subtract_frames(*frames(pair), mask, BAD, (0.1, 0.1), PLAIN, buffers)
    assert again.score is first.score
    assert np.array_equal(again.score, kept)


def test_an_image_of_holes_is_all_holes():
    pair = make_pair(60, shape=(150, 140), stars=0, galaxies=0, transients=0)
    pair.new[:] = np.nan
    found = subtract(pair)
    assert np.isnan(found.score).all()
    assert np.isfinite(found.sigma).all()


def test_a_hole_of_both_images_wider_than_any_kernel_is_a_hole_and_nothing_else():
    pair = make_pair(62, shape=(150, 140), stars=0, galaxies=0, transients=0)
    for image in (pair.new, pair.ref):
        image[50:90, 60:100] = np.nan
    found = subtract(pair)
    assert np.isnan(found.score[50:90, 60:100]).all()
    assert np.isfinite(found.score[:45]).all()
    assert np.nanstd(found.score) == pytest.approx(1.0, abs=0.03)


def test_where_no_noise_is_known_there_is_no_score_and_no_infinite_one():
    pair = make_pair(63, shape=(300, 320), stars=0, galaxies=0, transients=0)
    for image, noise in ((pair.new, pair.new_noise), (pair.ref, pair.ref_noise)):
        noise.values[1:3, 1:3] = 0.0  # and so all between these nodes, in a tile that has noise elsewhere
        image[80:176, 80:176] = np.minimum(image[80:176, 80:176], 0.0)  # nor light, whose photons have some
    assert pair.new_noise.cell == 64
    found = subtract(pair)
    assert np.isnan(found.score[112:144, 112:144]).all()
    assert not np.isinf(found.score).any()
    assert np.isfinite(found.score[-60:]).all()


def test_wrong_shapes_are_refused():
    pair = make_pair(61, shape=(150, 140), stars=0, galaxies=0, transients=0)
    with pytest.raises(ValueError, match=r"mask of \(3, 3\)"):
        subtract(pair, mask=np.zeros((3, 3), np.uint16))
    with pytest.raises(ValueError, match="even"):
        TileWork((20, 21), 5)
    with pytest.raises(ValueError, match="reference of"):
        subtract_tile(
            np.zeros((20, 20), np.float32),
            np.zeros((20, 22), np.float32),
            (flat(1, (20, 20)), flat(1, (20, 20))),
            PsfPair(gaussian(2.0, 5), gaussian(2.0, 5), 1.0, 1.0),
        )
