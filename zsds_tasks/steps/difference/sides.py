"""Science image and reference as the differencing room takes them, from what is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.psf_files import DaoPsf, parse_psf
from zsds_tasks.science.difference.align import StarList
from zsds_tasks.science.difference.subtract import Side
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.difference.reference_frames import ReferenceFrame, on_science_grid
from zsds_tasks.steps.difference.work import DifferenceWork
from zsds_tasks.steps.science_frames import REMEDY, ScienceFrame
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ScienceSuffix

Image = NDArray[np.float32]
STAR_COLUMNS = ("xpos", "ypos", "ra", "dec", "flux", "sigflux", "mag", "class_star", "flags")


class StoredPsf:
    """A PSF of DAOPHOT, asked for at 0-based places."""

    def __init__(self, psf: DaoPsf) -> None:
        self.psf = psf

    def stamp(self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the PSF at (x, y), (size, size), the star `shift` px from its middle."""
        return self.psf.stamp(x + 1, y + 1, size, shift).astype(np.float32)


def science_side(lakehouse: Lakehouse, work: DifferenceWork, frame: ScienceFrame, sources: pa.Table) -> Side:
    """Return the science image, read now."""
    image, mask = frame.load()
    suffix = ScienceSuffix.PSF_MODEL.value
    psf = parse_psf(
        read_stored(lakehouse, work.image, suffix, remedy=REMEDY), subject=f"{work.image['path']}, {suffix}"
    )
    return Side(
        image=image,
        noise=frame.noise,
        gain=frame.gain,
        psf=StoredPsf(psf),
        zero_point=float(work.image["magzp"]),
        stars=_stars(sources, _floats(sources, "xpos"), _floats(sources, "ypos")),
        mask=mask,
    )


def reference_side(
    reference: ReferenceFrame, frame: ScienceFrame, sources: pa.Table, config: DifferencingConfig
) -> Side:
    """Return the reference on the grid of the science image."""
    there = on_science_grid(reference, frame.wcs, frame.shape, config.warp, config.node_step_px)
    x, y = frame.wcs.sky_to_pixel(_floats(sources, "ra"), _floats(sources, "dec"))
    typical = float(np.nanmedian(there.uncertainty))
    return Side(
        image=there.image,
        noise=replace(frame.noise, values=np.full_like(frame.noise.values, typical)),
        gain=reference.gain,
        psf=there.psf,
        zero_point=reference.zero_point,
        stars=_stars(sources, np.asarray(x, np.float64), np.asarray(y, np.float64)),
        coverage=there.coverage,
        uncertainty=there.uncertainty,
    )


def _stars(sources: pa.Table, x: NDArray[np.float64], y: NDArray[np.float64]) -> StarList:
    return StarList(
        xpos=x,
        ypos=y,
        flux=_floats(sources, "flux"),
        sigflux=_floats(sources, "sigflux"),
        mag=_floats(sources, "mag"),
        is_star=np.nan_to_num(_floats(sources, "class_star")),
        is_usable=sources.column("flags").to_numpy() == 0,
    )


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), np.float64)
