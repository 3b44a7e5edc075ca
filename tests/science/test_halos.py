"""Halos: discs of the right size at the right place, only where bright enough."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.masking.ghost_geometry import CameraFrame, PlateMap, plate_map
from zsds_tasks.science.masking.ghost_model import GhostPrior, HaloPrior, prior_model
from zsds_tasks.science.masking.halos import flag_disc, mask_halos
from zsds_tasks.sky.wcs import Wcs

MODEL = prior_model(
    GhostPrior(), HaloPrior(radius_arcsec=100.0, radius_sigma_arcsec=5.0, flux_ratio=0.01), 6.0
)
LEVEL = 0.01 / (np.pi * 100.0**2)
SHAPE = (300, 410)


@pytest.fixture(scope="module")
def plate() -> PlateMap:
    cd = ((-1.0 / 3600, 0.0), (0.0, 1.0 / 3600))
    wcs = Wcs((30.0, 10.0), (205.0, 150.0), cd, ((0.0, 0.0), (1.0, 0.0)), ((0.0, 1.0), (0.0, 0.0)))
    return plate_map(wcs, SHAPE, CameraFrame(30.0, 10.0, 0.0))


@pytest.mark.parametrize(("x", "y"), [(200.0, 150.0), (5.0, 290.0), (-60.0, 100.0)])
@pytest.mark.parametrize("sigmas", [0.0, 2.0])
def test_a_halo_is_a_disc_about_its_star(plate, x, y, sigmas):
    mask = np.full(SHAPE, MaskBit.DEAD.flag, np.uint16)
    place = np.array([complex(plate.to_frame(x, y))])
    assert mask_halos(mask, plate, place, np.array([1e6]), 0.9e6 * LEVEL, MODEL, sigmas) == 1
    rows, columns = np.mgrid[1 : SHAPE[0] + 1, 1 : SHAPE[1] + 1]
    radius = np.hypot(columns - x, rows - y)
    halo = (mask & MaskBit.HALO.flag) > 0
    assert halo[radius < 99.5 + 5 * sigmas].all()
    assert not halo[radius > 100.5 + 5 * sigmas].any()
    assert ((mask & MaskBit.DEAD.flag) > 0).all()


def test_faint_halos_and_halos_elsewhere_are_left_alone(plate):
    mask = np.zeros(SHAPE, np.uint16)
    here, elsewhere = complex(plate.to_frame(200.0, 150.0)), complex(plate.to_frame(-150.0, 150.0))
    assert mask_halos(mask, plate, np.array([here]), np.array([1e6]), 1.1e6 * LEVEL, MODEL, 0.0) == 0
    assert mask_halos(mask, plate, np.array([elsewhere]), np.array([1e6]), 0.0, MODEL, 0.0) == 0
    assert mask_halos(mask, plate, np.empty(0, complex), np.empty(0), 0.0, MODEL, 0.0) == 0
    assert not mask.any()


@given(
    x=st.floats(-20, 50), y=st.floats(-20, 50), radius=st.floats(0.5, 40), angle=st.floats(0, 360),
    stretch=st.floats(0.5, 2),
)  # fmt: skip
@settings(max_examples=60)
def test_pixels_of_a_disc_are_those_of_the_slow_way(x, y, radius, angle, stretch):
    sin, cos = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-stretch, 1.0])
    mask = np.zeros((31, 43), np.uint16)
    count = flag_disc(mask, x, y, matrix, radius, np.uint16(MaskBit.HALO.flag))
    row, column = np.mgrid[0:31, 0:43]
    u, v = np.tensordot(matrix, np.stack([column - x, row - y]), 1)
    expected = u * u + v * v <= radius * radius
    # Rounding may decide otherwise exactly on the rim.
    clear = np.abs(np.hypot(u, v) - radius) > 1e-9
    assert ((mask > 0) == expected)[clear].all()
    assert count == np.count_nonzero(mask)
