"""A PSF model sums to one anywhere, is centred, and knows its width, shape and noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psf_builders import Optics, true_model

from zsds_tasks.pixels.psf_model import PsfModel, fitting_oversampling, term_count
from zsds_tasks.pixels.psf_nodes import centred, node_grid

SHAPE = (300, 401)


def gauss(dx, dy, xx, xy, yy):
    det = xx * yy - xy * xy
    power = (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / det
    return np.exp(-power / 2) / (2 * np.pi * np.sqrt(det))


def gaussian_model(fwhm, xx=1.2, xy=0.1, yy=0.9, half=12):
    s = fitting_oversampling(fwhm)
    dx, dy = node_grid(half, s)
    v = (fwhm / 2.3548) ** 2
    return PsfModel.from_nodes(gauss(dx, dy, v * xx, v * xy, v * yy)[None], 0, SHAPE, half, s)


def random_model(seed, degree, half=8, s=2):
    rng = np.random.default_rng(seed)
    dx, dy = node_grid(half, s)
    first = gauss(dx, dy, 1.5, 0.2, 1.2)
    rest = rng.normal(size=(term_count(degree) - 1, *dx.shape)) * 0.05 * first
    return PsfModel.from_nodes(np.concatenate([first[None], rest]), degree, SHAPE, half, s)


@settings(max_examples=40)
@given(st.integers(0, 2), st.floats(-5, 405), st.floats(-5, 305), st.integers(0, 99))
def test_the_stamp_sums_to_one_anywhere(degree, x, y, seed):
    model = random_model(seed, degree)
    assert model.stamp(x, y, 17).sum(dtype=float) == pytest.approx(1, abs=1e-5)
    big = model.stamp(x, y, 25)
    assert big.sum(dtype=float) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(big[4:-4, 4:-4], model.stamp(x, y, 17))
    np.testing.assert_array_equal(model.stamp(x, y, 17)[5:-5, 5:-5], model.stamp(x, y, 7))


@pytest.mark.parametrize("fwhm", [1.7, 2.0, 3.0, 6.0])
def test_width_shape_and_noise_of_a_gaussian(fwhm):
    model = gaussian_model(fwhm)
    area = np.sqrt(1.2 * 0.9 - 0.01)
    assert model.fwhm == pytest.approx(fwhm * np.sqrt(area), rel=0.006)
    eigen = np.linalg.eigvalsh([[1.2, 0.1], [0.1, 0.9]])
    assert model.elongation == pytest.approx(np.sqrt(eigen[1] / eigen[0]), rel=0.003)
    assert model.angle_deg == pytest.approx(np.degrees(0.5 * np.arctan2(0.2, 0.3)), abs=0.5)
    variance = (fwhm / 2.3548) ** 2
    assert model.n_eff(3, 4) == pytest.approx(4 * np.pi * variance * area, rel=0.03 if fwhm < 2 else 0.005)


@settings(max_examples=30)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.sampled_from([1.7, 2.0, 3.0, 6.0]))
def test_a_shifted_stamp_is_the_shifted_profile(dx, dy, fwhm):
    model = gaussian_model(fwhm)
    k = np.arange(-12, 13.0)
    v = (fwhm / 2.3548) ** 2
    true = gauss(k[None, :] - dx, k[:, None] - dy, v * 1.2, v * 0.1, v * 0.9)
    found = model.stamp(100, 50, 25, shift=(dx, dy))
    assert np.abs(found - true).max() < 1.5e-3 * true.max()


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_nodes_make_the_same_model_again(degree):
    model = random_model(3, degree)
    again = PsfModel.from_nodes(model.nodes(), degree, SHAPE, 8, 2)
    np.testing.assert_allclose(again.tables, model.tables, atol=1e-6)


def test_the_width_follows_the_place():
    dx, dy = node_grid(10, 2)
    narrow, wide = gauss(dx, dy, 1.2, 0, 1.2), gauss(dx, dy, 1.8, 0, 1.8)
    model = PsfModel.from_nodes(np.stack([(narrow + wide) / 2, (wide - narrow) / 2, 0 * dx]), 1, SHAPE, 10, 2)
    assert model.fwhm_at(400, 150) == pytest.approx(2.3548 * np.sqrt(1.8), rel=0.02)
    assert model.fwhm_at(0, 10) == pytest.approx(2.3548 * np.sqrt(1.2), rel=0.02)


def test_a_shifted_psf_is_moved_back():
    dx, dy = node_grid(10, 2)
    nodes = np.stack([gauss(dx - 0.1, dy + 0.06, 1.5, 0.1, 1.2), 0.02 * gauss(dx - 1, dy, 1, 0, 1), 0 * dx])
    moved = centred(nodes, 10, 2, 1.2)
    window = np.exp(-(dx**2 + dy**2) / (2 * 1.2**2))
    for term in moved:
        assert abs(np.sum(window * dx * term)) < 2e-3 * np.sum(window * moved[0])
        assert abs(np.sum(window * dy * term)) < 2e-3 * np.sum(window * moved[0])


def test_wrong_tables_and_stamps_are_refused():
    model = gaussian_model(2.0)
    with pytest.raises(ValueError, match="tables of"):
        PsfModel(model.tables, 1, SHAPE, 12)
    with pytest.raises(ValueError, match="tables of"):
        PsfModel(model.tables.astype(np.float64), 0, SHAPE, 12)
    with pytest.raises(ValueError, match="odd number"):
        model.stamp(3, 3, 24)
    with pytest.raises(ValueError, match="not centred"):
        model.stamp(3, 3, 25, shift=(0.0, 1.2))
    with pytest.raises(ValueError, match="a PSF of sum"):
        PsfModel.from_nodes(np.zeros((1, 29, 29)), 0, SHAPE, 12, 1)


def test_the_builders_true_model_is_the_true_profile():
    optics = Optics(fwhm=2.4, slope=0.0)
    model = true_model(optics, SHAPE)
    true = optics.stamp(0, 0, SHAPE, 12, (0.3, -0.2))
    assert np.abs(model.stamp(9, 9, 25, shift=(0.3, -0.2)) - true).max() < 5e-4 * true.max()
