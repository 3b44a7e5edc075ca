"""PSFs in DAOPHOT's format: through the text and back, to a thousandth of the peak."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.psf_model import PsfModel, node_offsets, term_count
from zsds_tasks.products.psf_files import DaoPsf, format_psf, parse_psf, tabulate_psf
from zsds_tasks.products.psf_profile import DENSITY, LEGENDRE, fit_profile, profile

SHAPE = (770, 768)
OVERSAMPLING, HALF = 3, 12
FINE = 7  # odd: a pixel is a whole number of fine steps


def moffat(offsets, fwhm, ellipticity, tilt, beta):
    """Return an elliptical Moffat function averaged over pixels, at offsets from its centre."""
    step = offsets[1] - offsets[0]
    fine_step = step / FINE
    n = FINE * len(offsets)
    fine = offsets[0] + (np.arange(n) - FINE // 2) * fine_step
    x, y = np.meshgrid(fine, fine)
    square = x * x * (1 + ellipticity) + y * y * (1 - ellipticity) + tilt * x * y
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    light = uniform_filter((1 + square / alpha**2) ** -beta, round(1 / fine_step), mode="nearest")
    return light[FINE // 2 :: FINE, FINE // 2 :: FINE]


def model(seed, degree, fwhm=2.2):
    rng = np.random.default_rng(seed)
    offsets = node_offsets(HALF, OVERSAMPLING)
    centre = (fwhm, rng.uniform(-0.1, 0.1), rng.uniform(-0.2, 0.2), rng.uniform(2.5, 4.5))
    nodes = [moffat(offsets, *centre)]
    for _ in range(term_count(degree) - 1):
        other = moffat(offsets, fwhm * 1.2, *centre[1:])
        nodes.append(rng.uniform(-0.15, 0.15) * (other * nodes[0].sum() / other.sum() - nodes[0]))
    return PsfModel.from_nodes(np.array(nodes), degree, SHAPE, HALF, OVERSAMPLING)


PLACES = [(0.0, 0.0), (767.0, 769.0), (120.3, 650.9), (383.5, 384.5), (700.0, 33.3)]


@pytest.mark.parametrize("seed", [41, 42, 43])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_psf_comes_back_at_every_place(seed, degree):
    source = model(seed, degree)
    content = format_psf(tabulate_psf(source, SHAPE, degree))
    found = parse_psf(content, subject="x.psf")
    for x, y in PLACES:
        expected = source.stamp(x, y, 25)
        assert np.abs(found.stamp(x + 1, y + 1) - expected).max() < 1e-3 * expected.max()
        assert found.stamp(x + 1, y + 1).sum() == pytest.approx(1, abs=2e-3)
        # Between the half pixels a cubic through four of them is less sharp than the PSF.
        for shift in ((0.25, 0.25), (-0.2, 0.4), (0.5, 0.0)):
            expected = source.stamp(x, y, 21, shift)
            assert np.abs(found.stamp(x + 1, y + 1, 21, shift) - expected).max() < 6e-3 * expected.max()


def test_variation_is_needed_where_there_is_some():
    source = model(44, 1)
    flat = tabulate_psf(source, SHAPE, 0)
    corner = source.stamp(0, 0, 25)
    assert np.abs(flat.stamp(1, 1) - corner).max() > 3e-3 * corner.max()


def test_the_text_is_daophots_and_the_same_every_time():
    psf = tabulate_psf(model(45, 2), SHAPE, 2)
    content = format_psf(psf)
    assert content == format_psf(tabulate_psf(model(45, 2), SHAPE, 2))
    lines = content.decode("ascii").splitlines()
    # Fortran: (1X, A8, 4I5, F9.3, F15.3, 2F9.1), (1X, 1P6E13.6)
    assert lines[0][:39] == " PENNY2     51    5    6    0   12.500 "[:39]
    assert lines[0][53:] == "    383.5    384.5"
    assert len(lines) == 1 + 1 + 6 * -(-51 * 51 // 6)
    assert all(len(line) <= 79 for line in lines)
    first = [float(lines[2][1 + 13 * k : 14 + 13 * k]) for k in range(6)]
    np.testing.assert_allclose(first, psf.tables[0].ravel()[:6], rtol=1e-6)


def test_x_runs_fastest_and_terms_are_in_daophots_order():
    tables = np.zeros((6, 7, 7))
    tables[:, 3, 5] = [1, 10, 100, 1000, 10_000, 100_000]  # one pixel to the right of the star
    psf = DaoPsf(np.array([1.0, 1.0, 0.5, 0.0, 0.0]), 0.0, tables, 25.0, (49.5, 99.5))
    again = parse_psf(format_psf(psf), subject="x.psf")
    for u, v in ((-1.0, -1.0), (0.0, 0.5), (1.0, 0.2)):
        stamp = again.stamp((u + 1) * 49.5 + 1, (v + 1) * 99.5 + 1, 3)
        terms = [1, u, v, 1.5 * u * u - 0.5, u * v, 1.5 * v * v - 0.5]
        assert stamp[1, 2] == pytest.approx(np.dot(terms, tables[:, 3, 5]))
        assert np.count_nonzero(stamp) == 1


def test_the_function_is_averaged_over_pixels():
    parameters = np.array([1.1, 0.9, 0.7, 0.2, -0.1])
    offsets = np.linspace(-3, 3, 13)
    steps = (np.arange(200) + 0.5) / 200 - 0.5
    x, y = ((offsets[:, None] + steps).ravel() for _ in range(2))
    square = (x[None, :] / 1.1) ** 2 + (y[:, None] / 0.9) ** 2
    product = x[None, :] * y[:, None]
    fine = 0.7 * np.exp(-np.log(2) * (square + 0.2 * product)) + 0.3 / (1 + square - 0.1 * product)
    expected = fine.reshape(13, 200, 13, 200).mean(axis=(1, 3))
    np.testing.assert_allclose(profile(offsets, offsets, parameters), expected, atol=2e-4)
    assert profile(np.array([1e6]), np.array([0.0]), parameters)[0, 0] == 0
    assert sum(LEGENDRE[DENSITY[0][1]][1]) == pytest.approx(1)


@pytest.mark.parametrize("seed", [51, 52, 53])
def test_a_fit_finds_the_function_again(seed):
    rng = np.random.default_rng(seed)
    wanted = np.array([*rng.uniform(0.8, 2, 2), rng.uniform(0.4, 0.9), *rng.uniform(-0.2, 0.2, 2)])
    offsets = (np.arange(51) - 25) / 2.0
    table = 300 * profile(offsets, offsets, wanted)
    height, found = fit_profile(table, offsets)
    again = height * profile(offsets, offsets, found)
    assert np.abs(again - table).max() < 3e-3 * table.max()


GOOD = format_psf(DaoPsf(np.array([1.0, 1.0, 0.5, 0.0, 0.0]), 1.0, np.zeros((1, 5, 5)), 12.5, (10.0, 10.0)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no header"),
        (b"\xff\xfe", "can't decode"),
        (GOOD.replace(b"PENNY2  ", b"MOFFAT25"), "function is MOFFAT25 of 5"),
        (GOOD.replace(b"    5    5    1", b"    4    5    1"), "1 \\+ 0 tables of 4 x 4"),
        (GOOD.replace(b"    5    5    1", b"    5    5    2"), "2 \\+ 0 tables"),
        (GOOD[:-20], "numbers where 25 are due"),
        (GOOD.replace(b"1.000000E+00", b"         NaN", 1), "not finite"),
    ],
)
def test_what_is_no_psf_is_refused(content, reason):
    with pytest.raises(UnusableInputError, match=reason) as caught:
        parse_psf(content, subject="sci/x_sciimgdao.psf")
    assert "sci/x_sciimgdao.psf" in str(caught.value)


def test_nothing_too_small_for_two_digits_of_exponent_is_written():
    tables = np.full((1, 5, 5), 1e-200)
    tables[0, 2, 2] = -1.5e-20
    content = format_psf(DaoPsf(np.ones(5), 1.0, tables, 12.5, (10.0, 10.0)))
    found = parse_psf(content, subject="x").tables
    assert found[0, 2, 2] == -1.5e-20
    assert np.count_nonzero(found) == 1
