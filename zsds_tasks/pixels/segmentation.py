"""Which pixels belong to which source: matched filter, threshold, connected pixels, deblending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.mesh import Image, Mesh
from zsds_tasks.pixels.segmentation_deblend import part_components
from zsds_tasks.pixels.segmentation_scan import Indexes, group_pixels, scan_image

FWHM_OF_SIGMA = 2.3548200450309493


class SegmentationConfig(Declaration):
    """How sources are found and parted."""

    threshold_sigma: Annotated[float, Field(gt=0)] = Field(
        1.5, description="largest threshold on the filtered image, in sigma of a sky pixel before filtering"
    )
    filtered_sigma: Annotated[float, Field(gt=0)] = Field(
        4.0, description="the same in sigma after filtering: taken where lower, as it is in poor seeing"
    )
    min_area: Annotated[int, Field(ge=1)] = Field(5, description="pixels a source must have")
    contrast: Annotated[float, Field(ge=0, le=1)] = Field(
        0.005, description="light of a part above the saddle, relative to that of the part it meets there"
    )
    significance: Annotated[float, Field(ge=0)] = Field(
        2.0, description="of a part's peak over the saddle, in sigma of the filtered image"
    )
    prominence: Annotated[float, Field(ge=0)] = Field(
        0.5,
        description="rise of a part's peak over the saddle, in saddles, that does without contrast",
    )


@dataclass(frozen=True)
class Segmentation:
    """The sources of an image as sets of pixels; source k (from 0) has the label k + 1.

    Parameters
    ----------
    labels : numpy.ndarray (ny, nx), int32
        0 where there is no source.
    pixels : numpy.ndarray (K), int32
        Index into the flattened image of every pixel of a source, source by source.
    first : numpy.ndarray (N + 1), int32
        Where each source begins in `pixels`.
    peak : numpy.ndarray (N), int32
        Index of the pixel that is brightest after filtering.
    is_parted : numpy.ndarray (N), bool
        The source was parted from another one.
    height : numpy.ndarray (N), float32
        Value of the filtered image at the peak.
    threshold : float
        That of the filtered image, in sigma of a sky pixel before filtering.
    """

    labels: Indexes
    pixels: Indexes
    first: Indexes
    peak: Indexes
    is_parted: NDArray[np.bool_]
    height: Image
    threshold: float

    def __len__(self) -> int:
        return len(self.peak)

    @property
    def area(self) -> Indexes:
        """Number of pixels of each source (N), int32."""
        return np.diff(self.first)

    def keep(self, wanted: NDArray[np.bool_]) -> Segmentation:
        """Return only the wanted (N) sources, numbered anew; the label map is changed in place."""
        area = self.area
        number = np.where(wanted, np.cumsum(wanted), 0).astype(np.int32)
        self.labels.reshape(-1)[self.pixels] = np.repeat(number, area)
        first = np.concatenate([[0], np.cumsum(area[wanted])]).astype(np.int32)
        pixels = self.pixels[np.repeat(wanted, area)]
        return Segmentation(
            self.labels,
            pixels,
            first,
            self.peak[wanted],
            self.is_parted[wanted],
            self.height[wanted],
            self.threshold,
        )

    def mark(self, mask: NDArray[np.uint16], flag: int) -> None:
        """Set a flag in a mask (ny, nx) at every pixel of a source, in place."""
        mask.reshape(-1)[self.pixels] |= np.uint16(flag)


def gaussian_kernel(fwhm: float) -> Image:
    """Return a Gaussian of this FWHM (px), summed to 1, out to 2.5 sigma: (2 half + 1) float32."""
    sigma = fwhm / FWHM_OF_SIGMA
    half = max(1, round(2.5 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def segment(
    image: Image,
    mask: NDArray[np.uint16],
    bits: int,
    noise: Mesh,
    fwhm: float,
    config: SegmentationConfig,
    *,
    gain: float = np.inf,
    full_bits: int = 0,
    out: Indexes | None = None,
) -> Segmentation:
    """Find the sources of an image without sky.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, C-contiguous
        Without sky.
    mask : numpy.ndarray (ny, nx), uint16, C-contiguous
    bits : int
        Pixels with one of these bits, or without a finite value, count as the mean of those around.
    noise : Mesh
        Standard deviation of a sky pixel.
    fwhm : float
        Of the matched filter, px.
    config : SegmentationConfig
    gain : float
        Electrons per unit of the image, for the noise of light where parts meet.
    full_bits : int
        Pixels with one of these (saturated ones) belong to a bright source: they keep their value, or get the
        highest one of the image where it is not finite.
    out : numpy.ndarray (ny, nx), int32, optional
        Becomes the label map.

    Raises
    ------
    ValueError
        If shapes disagree.
    """
    if not image.shape == mask.shape == noise.shape or (out is not None and out.shape != image.shape):
        raise ValueError(f"image {image.shape}, mask {mask.shape} and noise {noise.shape} disagree")
    kernel = gaussian_kernel(fwhm)
    power = float(np.sum(kernel.astype(np.float64) ** 2))  # root of what the filter leaves of a variance
    threshold = min(config.threshold_sigma, config.filtered_sigma * power)
    limit = (noise.values * np.float32(threshold)).astype(np.float32)
    found, values, runs, parent = scan_image(
        image,
        mask,
        np.uint16(bits | full_bits),
        np.uint16(full_bits),
        np.float32(_highest(image)),
        kernel,
        limit,
        noise.cell,
    )
    order, first, _ = group_pixels(runs, parent, config.min_area)
    labels = np.zeros(image.shape, np.int32) if out is None else out
    labels.fill(0)
    spread = power**2  # light and sky have the same filter
    level = float(np.median(noise.values))
    limits = np.array(
        [config.contrast, config.significance, spread * level**2, spread / gain, config.prominence]
    )
    return _part(labels, found[order], values[order], first, config.min_area, limits, threshold)


def _part(
    labels: Indexes,
    pixels: Indexes,
    values: Image,
    first: Indexes,
    least: int,
    limits: NDArray[np.float64],
    threshold: float,
) -> Segmentation:
    """Part components into sources and put their pixels in order of source; see `part_components`."""
    flat = labels.reshape(-1)
    flat[pixels] = np.arange(1, len(pixels) + 1, dtype=np.int32)
    label = np.empty(len(pixels), np.int32)
    most = len(pixels) // least + 1
    peak, area = np.empty(most, np.int32), np.empty(most, np.int32)
    is_parted, height = np.empty(most, np.bool_), np.empty(most, np.float32)
    n = part_components(pixels, first, values, labels, label, least, limits, peak, area, is_parted, height)
    flat[pixels] = label
    by_source = np.argsort(label, kind="stable")[np.count_nonzero(label == 0) :]
    bounds = np.concatenate([[0], np.cumsum(area[:n])]).astype(np.int32)
    return Segmentation(
        labels, pixels[by_source], bounds, peak[:n].copy(), is_parted[:n].copy(), height[:n].copy(), threshold
    )


def _highest(image: Image) -> float:
    """Return the largest finite value of an image, or 0."""
    top = float(np.fmax.reduce(image, axis=None)) if image.size else 0.0
    return top if np.isfinite(top) else 0.0
