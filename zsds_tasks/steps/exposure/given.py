"""What the chain is given: facts and pixels of one channel, catalogues as functions, buffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.astrometry import DistortionModel, Pointing, QuadrantView, ReferenceStars
from zsds_tasks.science.calibration.reduce import ReadoutFacts
from zsds_tasks.science.masking.ghost_model import GhostModel
from zsds_tasks.science.masking.ghosts import BrightStars
from zsds_tasks.survey.camera import Camera, Quadrant

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Found = TypeVar("Found")
StarsAround = Callable[[tuple[float, float], float], ReferenceStars]
RowsAround = Callable[[tuple[float, float], float], pa.Table]
BrightAround = Callable[[tuple[float, float], float], BrightStars]


@dataclass(frozen=True)
class Catalogs:
    """Where reference stars come from: functions of a centre (ra, dec; degrees) and a radius (degrees)."""

    astrometric: StarsAround
    photometric: RowsAround
    bright: BrightAround


@dataclass(frozen=True)
class ChainInput:
    """All that is known of one channel of one exposure before its pixels are looked at.

    Parameters
    ----------
    subject : str
        What errors name: the raw file.
    camera : Camera
    quadrant : Quadrant
    filter_name : str
        As in the survey's declaration.
    raw, overscan : numpy.ndarray, uint16
    bias, flat : numpy.ndarray (ny, nx), float32
    static_mask : numpy.ndarray (ny, nx), uint16
    smooth : Mesh or None
        Response that is divided out beside the flat.
    facts : ReadoutFacts
    read_noise : float, electrons
    pointing : Pointing
        Of the header.
    mjd : float
        UTC of mid-exposure.
    exptime_s : float
    airmass : float or None
    calibration_age_d : float
    ghost_model : GhostModel
    prior : DistortionModel or None
        The channel's distortion as earlier solutions found it.
    view : QuadrantView or None
        Where the image should look, if it is not of the camera's own channel: a co-add's grid.
    """

    subject: str
    camera: Camera
    quadrant: Quadrant
    filter_name: str
    raw: NDArray[np.uint16]
    overscan: NDArray[np.uint16]
    bias: Image
    flat: Image
    static_mask: Mask
    smooth: Mesh | None
    facts: ReadoutFacts
    read_noise: float
    pointing: Pointing
    mjd: float
    exptime_s: float
    airmass: float | None
    calibration_age_d: float
    ghost_model: GhostModel
    prior: DistortionModel | None = None
    view: QuadrantView | None = None


@dataclass
class Buffers:
    """Image, mask and scratch of a worker, written over by every quadrant of one shape."""

    image: Image
    mask: Mask
    scratch: Image
    labels: NDArray[np.int32]

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Buffers:
        """Return new ones."""
        images = (np.empty(shape, kind) for kind in (np.float32, np.uint16, np.float32, np.int32))
        return cls(*images)


def known(value: Found | None) -> Found:
    """Return what an earlier stage has found."""
    if value is None:
        raise RuntimeError("a stage of the chain was left out")
    return value
