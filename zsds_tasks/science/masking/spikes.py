"""Cosmic rays and other spikes get their bit (reference section 3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.cosmic_rays import SpikeConfig, mark_spikes
from zsds_tasks.pixels.cosmic_rays_width import CoreConfig, core_fwhm
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit

TOUCHING_PX = 1.5


class SpikeMaskConfig(Declaration):
    """How spikes are told from stars."""

    core: CoreConfig = CoreConfig()
    spikes: SpikeConfig = SpikeConfig()
    least_fwhm_px: Annotated[float, Field(gt=0)] = Field(
        1.5, description="taken where the image has too few stars to tell and no FWHM is given"
    )


@dataclass(frozen=True)
class SpikeStats:
    """What was found.

    Parameters
    ----------
    pixels, events : int
        Marked pixels, and groups of them that touch.
    candidates : int
        Pixels looked at closely.
    fwhm : float
        Of star cores, pixels, as it was used.
    """

    pixels: int
    events: int
    candidates: int
    fwhm: float


def mask_spikes(
    image: NDArray[np.float32],
    mask: NDArray[np.uint16],
    noise: Mesh,
    gain: float,
    config: SpikeMaskConfig,
    fwhm: float | None = None,
) -> SpikeStats:
    """Set bit SPIKE of pixels sharper than any source, in place; bleeds must have been masked before.

    The width of stars is measured in the image itself, because it decides everything: stars are hit by the
    thousand once it is a fifth too large.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Background subtracted; not changed.
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place; unusable pixels are passed over.
    noise : Mesh
        1 sigma of blank sky, DN.
    gain : float
        Electrons per DN.
    config : SpikeMaskConfig
    fwhm : float, optional
        Of the PSF, pixels, where it is known; the narrower of it and the measured one counts.
    """
    measured = core_fwhm(image, mask, UNUSABLE, noise, config.core)
    known = [width for width in (measured, fwhm) if width is not None and np.isfinite(width)]
    used = min(known, default=config.least_fwhm_px)
    found = mark_spikes(image, mask, UNUSABLE, MaskBit.SPIKE.flag, noise, gain, used, config.spikes)
    return SpikeStats(len(found.places), _groups(found.places), found.candidates, used)


def _groups(places: NDArray[np.int64]) -> int:
    """Return how many groups of touching pixels there are."""
    n = len(places)
    if n == 0:
        return 0
    pairs = cKDTree(places).query_pairs(TOUCHING_PX, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return int(connected_components(graph, directed=False)[0])
