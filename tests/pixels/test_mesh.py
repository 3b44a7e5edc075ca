"""A mesh is bilinear between the middles of its cells, however it is evaluated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from zsds_tasks.pixels.mesh import Mesh, mesh_shape


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(0, 99))
def test_expanding_sampling_and_scipy_agree(ny, nx, cell, seed):
    rng = np.random.default_rng(seed)
    mesh = Mesh(rng.normal(size=mesh_shape((ny, nx), cell)).astype(np.float32), cell, (ny, nx))
    image = mesh.expand()
    y, x = np.mgrid[0:ny, 0:nx].astype(float)
    places = [(y.ravel() + 0.5) / cell - 0.5, (x.ravel() + 0.5) / cell - 0.5]
    oracle = map_coordinates(mesh.values.astype(float), places, order=1, mode="nearest")
    np.testing.assert_allclose(image.ravel(), oracle, atol=2e-5)
    np.testing.assert_allclose(mesh.at(x.ravel(), y.ravel()), oracle, atol=2e-5)


def test_at_the_middles_a_map_is_what_it_says():
    values = np.random.default_rng(4).normal(size=(4, 5)).astype(np.float32)
    mesh = Mesh(values, 32, (120, 150))
    x, y = mesh.middles
    assert np.allclose(mesh.at(x.ravel(), y.ravel()).reshape(4, 5), values, atol=1e-6)


def test_adding_and_subtracting_leaves_the_image():
    mesh = Mesh(np.arange(12, dtype=np.float32).reshape(3, 4), 8, (20, 27))
    image = np.ones((20, 27), np.float32)
    mesh.add_to(image, 2.0)
    np.testing.assert_allclose(image - 1, 2 * mesh.expand(), atol=1e-5)
    mesh.add_to(image, -2.0)
    np.testing.assert_allclose(image, 1, atol=1e-5)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) cells of 8 px"):
        Mesh(np.zeros((2, 2), np.float32), 8, (20, 27))
    with pytest.raises(ValueError, match="for an image of"):
        Mesh.constant(1.0, (20, 27)).add_to(np.zeros((20, 26), np.float32))


def test_a_constant_stays_constant():
    assert np.all(Mesh.constant(3.5, (11, 300), 64).expand() == np.float32(3.5))
