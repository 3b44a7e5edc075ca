"""Science image and reference as the differencing room takes them, from what is stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.background import BackgroundConfig
from zsds_tasks.products.psf_files import DaoPsf, parse_psf
from zsds_tasks.science.difference.align import StarList
from zsds_tasks.science.difference.subtract import Side
from zsds_tasks.science.photometry.spatial import SpatialTerm
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.difference.reference_frames import ReferenceFrame, on_science_grid
from zsds_tasks.steps.difference.work import DifferenceWork
from zsds_tasks.steps.science_frames import REMEDY, ScienceFrame, frame_of, read_frame
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ScienceSuffix

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Row = dict[str, Any]
PSF = ScienceSuffix.PSF_MODEL.value
SAMPLE_STEP = 5  # pixels: every 25th tells what is typical
STAR_COLUMNS = ("xpos", "ypos", "ra", "dec", "flux", "sigflux", "mag", "class_star", "flags")


class StoredPsf:
    """A PSF of DAOPHOT, asked for at 0-based places."""

    def __init__(self, psf: DaoPsf) -> None:
        self.psf = psf

    def stamp(self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the PSF at (x, y), (size, size), the star `shift` px from its middle."""
        return self.psf.stamp(x + 1, y + 1, size, shift).astype(np.float32)


@dataclass(frozen=True)
class ScienceGiven:
    """A calibrated image, its pixels as its files give them back.

    Parameters
    ----------
    frame : ScienceFrame
    image : numpy.ndarray (ny, nx), float32
        DN, without sky, of one zero point all over.
    mask : numpy.ndarray (ny, nx), uint16
    psf : DaoPsf
    sources : pyarrow.Table
        Its rows of sources: `STAR_COLUMNS`.
    """

    frame: ScienceFrame
    image: Image = field(repr=False)
    mask: Mask = field(repr=False)
    psf: DaoPsf = field(repr=False)
    sources: pa.Table = field(repr=False)


def read_science(lakehouse: Lakehouse, row: Row, config: BackgroundConfig) -> ScienceGiven:
    """Read a calibrated image.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : dict
        Of science_images.
    config : BackgroundConfig
        How its sky is measured.

    Raises
    ------
    UnusableInputError
        If a file is gone or is not the one that the row names.
    """
    frame, image, mask = read_frame(lakehouse, row, config)
    frame.reduce(image)
    psf = read_stored(lakehouse, row, PSF, remedy=REMEDY)
    sources = lakehouse.table("sources").read(STAR_COLUMNS, {"pid": row["pid"]})
    return ScienceGiven(frame, image, mask, parse_psf(psf, subject=f"{row['path']}, {PSF}"), sources)


@dataclass(frozen=True)
class JustWritten:
    """What is in memory of a calibrated image when its files have been written.

    Parameters
    ----------
    image_file, psf_file : bytes
    image : numpy.ndarray (ny, nx), float32
        What `image_file` decodes to; its sky is taken off in place, and it is brought to one zero point.
    mask : numpy.ndarray (ny, nx), uint16
    sources : pyarrow.Table
        Its rows of sources.
    """

    image_file: bytes = field(repr=False)
    psf_file: bytes = field(repr=False)
    image: Image = field(repr=False)
    mask: Mask = field(repr=False)
    sources: pa.Table = field(repr=False)

    def given(self, lakehouse: Lakehouse, row: Row, config: BackgroundConfig) -> ScienceGiven:
        """Return, without reading, what `read_science` would: the same numbers, bit by bit.

        Parameters as of `read_science`; the row is the one that will be committed.
        """
        frame = frame_of(lakehouse, row, self.image_file, self.image, self.mask, config)
        frame.reduce(self.image)
        psf = parse_psf(self.psf_file, subject=f"{row['path']}, {PSF}")
        return ScienceGiven(frame, self.image, self.mask, psf, self.sources.select(STAR_COLUMNS))


def science_side(given: ScienceGiven, work: DifferenceWork) -> Side:
    """Return the science image as the differencing room takes it."""
    return Side(
        image=given.image,
        noise=given.frame.noise,
        gain=given.frame.gain,
        psf=StoredPsf(given.psf),
        zero_point=float(work.image["magzp"]),
        stars=_stars(given.sources, _places(given.sources), given.frame.spatial),
        mask=given.mask,
    )


def reference_side(
    reference: ReferenceFrame, frame: ScienceFrame, sources: pa.Table, config: DifferencingConfig
) -> Side:
    """Return the reference on the grid of the science image."""
    there = on_science_grid(reference, frame.wcs, frame.shape, config.warp, config.node_step_px)
    x, y = frame.wcs.sky_to_pixel(_floats(sources, "ra"), _floats(sources, "dec"))
    typical = float(np.nanmedian(there.uncertainty[::SAMPLE_STEP, ::SAMPLE_STEP]))
    return Side(
        image=there.image,
        noise=replace(frame.noise, values=np.full_like(frame.noise.values, typical)),
        gain=reference.gain,
        psf=there.psf,
        zero_point=reference.zero_point,
        stars=_stars(sources, (np.asarray(x, np.float64), np.asarray(y, np.float64)), reference.spatial),
        coverage=there.coverage,
        uncertainty=there.uncertainty,
    )


def _stars(sources: pa.Table, places: tuple[Floats, Floats], term: SpatialTerm) -> StarList:
    """Return sources of an image at places of the science image; fluxes as its pixels have them now."""
    factor = term.flux_factor(*_places(sources))
    return StarList(
        xpos=places[0],
        ypos=places[1],
        flux=_floats(sources, "flux") * factor,
        sigflux=_floats(sources, "sigflux") * factor,
        mag=_floats(sources, "mag"),
        is_star=np.nan_to_num(_floats(sources, "class_star")),
        is_usable=sources.column("flags").to_numpy() == 0,
    )


def _places(sources: pa.Table) -> tuple[Floats, Floats]:
    return _floats(sources, "xpos"), _floats(sources, "ypos")


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), np.float64)
