"""The aperture catalogue of one image: found, parted, measured, classed (reference section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.aperture import MeasureConfig, Measures, measure_sources
from zsds_tasks.pixels.aperture_extent import PointSpread, measure_extent, window_psf
from zsds_tasks.pixels.aperture_profile import circle_profiles
from zsds_tasks.pixels.background import Background
from zsds_tasks.pixels.mesh import Image
from zsds_tasks.pixels.segmentation import Segmentation, SegmentationConfig, segment
from zsds_tasks.pixels.segmentation_scan import Indexes
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.photometry.apertures_class import ClassConfig, star_probability
from zsds_tasks.science.photometry.apertures_columns import COLUMNS
from zsds_tasks.science.photometry.apertures_values import light_columns, place_columns, shape_columns
from zsds_tasks.science.photometry.growth import (
    GrowthConfig,
    GrowthCurve,
    growth_curve,
    growth_of_psf,
)

Floats = NDArray[np.float64]
LIGHT_KEPT = (
    MaskBit.LOW_RESPONSE.flag
    | MaskBit.HIGH_RESPONSE.flag
    | MaskBit.GHOST.flag
    | MaskBit.SPILLAGE_GHOST.flag
    | MaskBit.HALO.flag
)
"""Unusable for science, but with light of the sky: sources are found and measured there, and flagged."""
NEIGHBOURS, PARTED, SATURATED, AT_EDGE, MASKED = 1, 2, 4, 8, 16
"""FLAGS, as in SExtractor."""


class ApertureConfig(Declaration):
    """How the aperture catalogue is made."""

    segmentation: SegmentationConfig = SegmentationConfig()
    measure: MeasureConfig = MeasureConfig()
    growth: GrowthConfig = GrowthConfig()
    star_class: ClassConfig = ClassConfig()
    neighbour_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="of the Kron ellipse: above, FLAGS 1"
    )
    flag_aperture: Annotated[int, Field(ge=0)] = Field(
        3, description="number (from 0) of the largest circle whose masked pixels set FLAGS 16"
    )
    stand_out: Annotated[float, Field(ge=0)] = Field(
        1.15, description="least height of a source over the sky beside it, in thresholds"
    )
    lost_core: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="share of the second circle that may be replaced for a class to be given"
    )


@dataclass(frozen=True)
class ApertureCatalog:
    """Aperture measures of N sources of one image; see `apertures_columns.COLUMNS` for the arrays.

    `growth` holds the corrections APCOR and their errors APCORUN, `segmentation` the pixels of each source.
    """

    number: NDArray[np.int32]
    xwin_image: Floats
    ywin_image: Floats
    errx2win_image: Image
    erry2win_image: Image
    errxywin_image: Image
    x_image: Image
    y_image: Image
    flux_aper: Image
    fluxerr_aper: Image
    mag_aper: Image
    magerr_aper: Image
    lost_aper: Image
    flux_auto: Image
    fluxerr_auto: Image
    mag_auto: Image
    magerr_auto: Image
    kron_radius: Image
    flux_iso: Image
    flux_max: Image
    flux_radius: Image
    background: Image
    threshold: Image
    isoarea_image: NDArray[np.int32]
    a_image: Image
    b_image: Image
    awin_image: Image
    bwin_image: Image
    thetawin_image: Image
    elongation: Image
    fwhm_image: Image
    extent: Image
    extent_err: Image
    class_star: Image
    flags: NDArray[np.int16]
    imaflags_iso: NDArray[np.int32]
    growth: GrowthCurve
    segmentation: Segmentation

    def __len__(self) -> int:
        return len(self.number)

    def mark_detections(self, mask: NDArray[np.uint16]) -> None:
        """Set bit 1 of a mask (ny, nx) at every pixel of a source, in place."""
        self.segmentation.mark(mask, MaskBit.DETECTION.flag)


def measure_apertures(
    image: Image,
    mask: NDArray[np.uint16],
    background: Background,
    gain: float,
    psf: PointSpread,
    config: ApertureConfig,
    unusable_bits: int = UNUSABLE,
    labels: Indexes | None = None,
) -> ApertureCatalog:
    """Find and measure the sources of an image without sky.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Without sky.
    mask : numpy.ndarray (ny, nx), uint16
        Bits of `MaskBit`.
    background : Background
        That was subtracted.
    gain : float
        Electrons per DN.
    psf : PointSpread
        A `zsds_tasks.pixels.psf_model.PsfModel`, say.
    config : ApertureConfig
    unusable_bits : int
        Such pixels set FLAGS 16; their light is replaced, unless the bit leaves it what it is (`LIGHT_KEPT`).
    labels : numpy.ndarray (ny, nx), int32, optional
        Becomes the label map: a buffer to be reused.

    Returns
    -------
    ApertureCatalog
        In order of the first row of each group of sources; empty if there is nothing.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    replaced = unusable_bits & ~LIGHT_KEPT
    segmentation, found = _detect(image, mask, background, replaced, gain, psf.fwhm, config, labels)
    flags = _flags(found, segmentation, unusable_bits, config)
    windowed = window_psf(psf, background.level.shape, found.ladder)
    place = found.source["x"], found.source["y"]
    extent = measure_extent(windowed, *place, found.windows, found.noise, gain, config.star_class.psf_floor)
    growth = _growth(image, mask, replaced, segmentation, found, flags, extent, gain, psf, config.growth)
    columns = light_columns(found, gain) | shape_columns(found) | place_columns(found)
    core = found.lost[:, 1] > config.lost_core * np.pi * found.radii[1] ** 2
    columns |= {
        "number": np.arange(1, len(segmentation) + 1),
        "background": background.level.at(*(p.copy() for p in place)),
        "threshold": segmentation.threshold * found.noise,
        "isoarea_image": segmentation.area,
        "extent": extent[0],
        "extent_err": extent[1],
        "class_star": np.where(core, np.nan, star_probability(*extent, config.star_class)),
        "flags": flags,
        "imaflags_iso": found.iso["or_mask"],
    }
    typed = {c.attribute: np.ascontiguousarray(columns[c.attribute], c.dtype) for c in COLUMNS}
    return ApertureCatalog(**typed, growth=growth, segmentation=segmentation)


def _detect(
    image: Image,
    mask: NDArray[np.uint16],
    background: Background,
    replaced: int,
    gain: float,
    fwhm: float,
    config: ApertureConfig,
    labels: Indexes | None,
) -> tuple[Segmentation, Measures]:
    """Find and measure the sources, less those that only lie on a bright star's wings."""
    segmentation = segment(
        image,
        mask,
        replaced,
        background.noise,
        fwhm,
        config.segmentation,
        gain=gain,
        full_bits=MaskBit.SATURATED.flag & replaced,
        out=labels,
    )
    found = measure_sources(image, mask, replaced, segmentation, background.noise, gain, fwhm, config.measure)
    # On the wings of a bright star everything is above the threshold: a source is above the wings too.
    local = np.maximum(found.source["local"], 0)
    limit = config.stand_out * segmentation.threshold * np.sqrt(found.noise**2 + local / gain)
    stands_out = segmentation.height - local > limit
    return segmentation.keep(stands_out), found.keep(stands_out)


def _flags(
    found: Measures, segmentation: Segmentation, unusable_bits: int, config: ApertureConfig
) -> NDArray[np.int16]:
    source = found.source
    or_mask = found.iso["or_mask"].astype(np.int64)
    circle = min(config.flag_aperture, found.lost.shape[1] - 1)
    is_masked = (source["auto_missing"] > 0) | (found.lost[:, circle] > 0)
    is_masked |= (or_mask & unusable_bits & ~MaskBit.SATURATED.flag) != 0
    flags = np.zeros(len(or_mask), np.int16)
    flags[source["auto_neighbours"] > config.neighbour_share * source["auto_area"]] |= NEIGHBOURS
    flags[segmentation.is_parted] |= PARTED
    flags[(or_mask & MaskBit.SATURATED.flag) != 0] |= SATURATED
    flags[found.iso["at_edge"] > 0] |= AT_EDGE
    flags[is_masked] |= MASKED
    return flags


def _growth(
    image: Image,
    mask: NDArray[np.uint16],
    bits: int,
    segmentation: Segmentation,
    found: Measures,
    flags: NDArray[np.int16],
    extent: tuple[Floats, Floats],
    gain: float,
    psf: PointSpread,
    config: GrowthConfig,
) -> GrowthCurve:
    """Take bright unflagged points, keep those alone in a large circle, and make the growth curve."""
    radii = np.append(found.radii, config.total_diameter / 2)
    area = np.pi * radii**2
    light = found.circles[:, -1]
    snr = light / np.sqrt(found.noise**2 * area[-2] + np.maximum(light, 0) / gain)
    is_point = np.abs(extent[0]) < 0.3 + 3 * extent[1]
    rows = np.flatnonzero((flags == 0) & is_point & (snr > config.least_snr))
    # Twice as many as wanted: some have company.
    rows = rows[np.argsort(-light[rows], kind="stable")][: 2 * config.most_stars]
    profile, lost = np.zeros((len(rows), len(radii))), np.zeros(len(rows))
    x, y = found.source["x"][rows], found.source["y"][rows]
    labels = segmentation.labels
    circle_profiles(
        image, mask, labels, np.uint16(bits), (rows + 1).astype(np.int32), x, y, radii, profile, lost
    )
    alone = np.flatnonzero(lost <= config.most_lost)[: config.most_stars]
    profile, x, y = profile[alone], x[alone], y[alone]
    noise = np.sqrt(found.noise[rows[alone], None] ** 2 * area + np.maximum(profile, 0) / gain)
    shape = (image.shape[0], image.shape[1])
    return growth_curve(profile, noise, (x, y), growth_of_psf(psf, shape, radii), shape, config)
