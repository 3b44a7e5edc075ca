"""Light, place and shape of the sources of a segmented image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.aperture_sources import LARGEST_HALF, SOURCE_COLUMNS, measure_each
from zsds_tasks.pixels.mesh import Image, Mesh
from zsds_tasks.pixels.moments import ISO_COLUMNS, isophotal_moments
from zsds_tasks.pixels.segmentation import FWHM_OF_SIGMA, Segmentation

Floats = NDArray[np.float64]


class MeasureConfig(Declaration):
    """What is measured on each source."""

    diameters: tuple[float, ...] = Field((2.0, 3.0, 4.0, 6.0, 10.0, 14.0), description="of the circles, px")
    kron_factor: Annotated[float, Field(gt=0)] = Field(2.5, description="Kron ellipse in Kron radii")
    kron_least: Annotated[float, Field(gt=0)] = Field(3.5, description="least ellipse, in isophotal axes")
    kron_reach: Annotated[float, Field(gt=0)] = Field(6.0, description="of Kron's sum, in isophotal axes")
    most_half: Annotated[int, Field(ge=8, le=LARGEST_HALF)] = Field(
        40, description="half the largest stamp, px"
    )
    ladder: tuple[float, ...] = Field(
        (1.2, 1.6), description="widths of the Gaussian windows, in sigma of the PSF"
    )


@dataclass(frozen=True)
class Measures:
    """Raw measures of N sources; positions 0-based.

    Parameters
    ----------
    iso : dict of numpy.ndarray (N), float64
        See `ISO_COLUMNS`.
    source : dict of numpy.ndarray (N), float64
        See `SOURCE_COLUMNS`.
    circles, lost : numpy.ndarray (N, R), float64
        Light in the circles; area of missing pixels in them, px^2.
    windows : numpy.ndarray (N, L), float64
        Light under the Gaussian windows.
    noise : numpy.ndarray (N), float64
        Of a sky pixel at each source.
    radii, ladder : numpy.ndarray
        Of the circles and sigmas of the windows, px.
    """

    iso: dict[str, Floats]
    source: dict[str, Floats]
    circles: Floats
    lost: Floats
    windows: Floats
    noise: Floats
    radii: Floats
    ladder: Floats

    def keep(self, wanted: NDArray[np.bool_]) -> Measures:
        """Return the rows of the wanted (N) sources."""
        return Measures(
            {name: column[wanted] for name, column in self.iso.items()},
            {name: column[wanted] for name, column in self.source.items()},
            self.circles[wanted],
            self.lost[wanted],
            self.windows[wanted],
            self.noise[wanted],
            self.radii,
            self.ladder,
        )


def measure_sources(
    image: Image,
    mask: NDArray[np.uint16],
    bits: int,
    segmentation: Segmentation,
    noise: Mesh,
    gain: float,
    fwhm: float,
    config: MeasureConfig,
) -> Measures:
    """Measure the sources of an image without sky.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, C-contiguous
    mask : numpy.ndarray (ny, nx), uint16, C-contiguous
    bits : int
        Pixels with one of these, or without a finite value, are replaced: by their mirror image about the
        source, or by the mean at the same distance. So are pixels of other sources.
    segmentation : Segmentation
    noise : Mesh
        Standard deviation of a sky pixel.
    gain : float
        Electrons per unit of the image.
    fwhm : float
        Of the PSF, px.
    config : MeasureConfig
    """
    n = len(segmentation)
    iso = np.zeros((n, len(ISO_COLUMNS)))
    isophotal_moments(image, mask, np.uint16(bits), segmentation.pixels, segmentation.first, iso)
    at = noise.at(iso[:, 0].copy(), iso[:, 1].copy()).astype(np.float64)
    sigma = fwhm / FWHM_OF_SIGMA
    radii, ladder = np.array(config.diameters) / 2, np.array(config.ladder) * sigma
    source, windows = np.zeros((n, len(SOURCE_COLUMNS))), np.zeros((n, len(ladder)))
    circles, lost = np.zeros((n, len(radii))), np.zeros((n, len(radii)))
    shape = np.array([sigma, config.kron_factor, config.kron_least, config.kron_reach, config.most_half])
    measure_each(
        image,
        mask,
        segmentation.labels,
        np.uint16(bits),
        iso,
        at,
        gain,
        radii,
        ladder,
        shape,
        source,
        circles,
        lost,
        windows,
    )
    return Measures(
        {name: iso[:, k] for k, name in enumerate(ISO_COLUMNS)},
        {name: source[:, k] for k, name in enumerate(SOURCE_COLUMNS)},
        circles,
        lost,
        windows,
        at,
        radii,
        ladder,
    )
