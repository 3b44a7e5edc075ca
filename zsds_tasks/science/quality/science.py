"""Measures of one calibrated science image: what its verdict and its row of image_quality rest on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from zsds_tasks.pixels.histograms import cell_histograms
from zsds_tasks.products.masks import UNUSABLE, MaskBit

Floats = NDArray[np.float64]
REFLECTIONS = MaskBit.GHOST.flag | MaskBit.HALO.flag | MaskBit.SPILLAGE_GHOST.flag
PRIMARIES = 300  # brightest sources whose surroundings are searched for a second image
NEIGHBOURS = 32  # nearest sources looked at around each
REACH_PX = 25
CORE_PX = 3  # nearer pairs are crowding and split stars


@dataclass(frozen=True)
class ScienceMetrics:
    """Everything that is known about an image; None for what is not.

    The first part has the names and units of image_quality, which declares them. The second is what else the
    verdict needs.

    Parameters
    ----------
    filter_name : str
        As in the survey's declaration.
    rcid : int
    area_deg2 : float
        Of the image: counts of stars are judged by it.
    airmass : float
    n_pixels : int
    lost_fraction : float
        Share of pixels that are unusable for more than a ghost or halo.
    calibration_age_d : float
        Of the oldest master frame used.
    nmatches : int
        Calibrators in the photometric fit.
    magzprms : float, mag
    colour_held : bool
        Whether the colour coefficient is not this image's own.
    double_share : float
        See `double_share`.
    """

    sky: float | None = None
    sky_gradient: float | None = None
    noise: float | None = None
    noise_ratio: float | None = None
    fwhm: float | None = None
    fwhm_range: float | None = None
    elongation: float | None = None
    elongation_angle: float | None = None
    n_psf_stars: int | None = None
    psf_chi: float | None = None
    n_sources: int | None = None
    n_aperture_sources: int | None = None
    astrometry_rung: str | None = None
    n_astrometry: int | None = None
    rms_east: float | None = None
    rms_north: float | None = None
    rms_bright: float | None = None
    pointing_offset: float | None = None
    rotation_offset: float | None = None
    astrometry_cells: tuple[float, ...] | None = None
    zp30: float | None = None
    zp_cells: tuple[float, ...] | None = None
    zp_spatial_rms: float | None = None
    phot_pull: float | None = None
    apcor: tuple[float, ...] | None = None
    masked_fraction: float | None = None
    n_spikes: int | None = None
    n_saturated: int | None = None
    n_tracks: int | None = None
    n_ghosts: int | None = None
    n_halos: int | None = None
    core_seconds: float | None = None

    filter_name: str = ""
    rcid: int = 0
    area_deg2: float = 0.0
    airmass: float | None = None
    n_pixels: int = 0
    lost_fraction: float | None = None
    calibration_age_d: float | None = None
    nmatches: int | None = None
    magzprms: float | None = None
    colour_held: bool = False
    double_share: float | None = None

    def row(self) -> dict[str, object]:
        """Return the columns of image_quality among them; identity, place and verdict are the caller's."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[:N_COLUMNS]}


N_COLUMNS = [field.name for field in dataclasses.fields(ScienceMetrics)].index("filter_name")


@dataclass(frozen=True)
class MaskCensus:
    """How many pixels of a mask have which bits.

    Parameters
    ----------
    n_pixels, n_unusable, n_lost : int
        All; with a bit of the unusable template; with one besides those of ghosts and halos.
    counts : dict from MaskBit to int
    """

    n_pixels: int
    n_unusable: int
    n_lost: int
    counts: dict[MaskBit, int]

    @property
    def lost_fraction(self) -> float:
        """Share of pixels that hold more than a reflection's extra light."""
        return self.n_lost / self.n_pixels

    @property
    def masked_fraction(self) -> float:
        """Share of pixels with a bit of the unusable template."""
        return self.n_unusable / self.n_pixels


def count_mask(mask: NDArray[np.uint16]) -> MaskCensus:
    """Count the bits of a mask in one pass.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
        Not empty.
    """
    counts = cell_histograms(mask, 1, 1)[0, 0]
    values = np.flatnonzero(counts)
    number = counts[values]
    return MaskCensus(
        n_pixels=mask.size,
        n_unusable=int(number[(values & UNUSABLE) != 0].sum()),
        n_lost=int(number[(values & UNUSABLE & ~REFLECTIONS) != 0].sum()),
        counts={bit: int(number[(values & bit.flag) != 0].sum()) for bit in MaskBit},
    )


def expected_noise(sky: float, gain: float, read_noise: float) -> float:
    """Return the noise of a sky pixel, DN.

    Parameters
    ----------
    sky : float, DN
    gain : float, electrons per DN
    read_noise : float, electrons
    """
    return float(np.sqrt(max(sky, 0.0) / gain + (read_noise / gain) ** 2))


def double_share(x: NDArray[np.floating], y: NDArray[np.floating], flux: NDArray[np.floating]) -> float:
    """Return the share of bright sources that have a fainter one at the offset where most have one.

    Stars are strewn at random, so that few agree; where the telescope jumped during the exposure every star
    has a second image at the same offset.

    Parameters
    ----------
    x, y : (N) float, pixels
    flux : (N) float

    Returns
    -------
    float
        0 to 1; 0 if there are fewer than ten sources.
    """
    if len(x) < 10:
        return 0.0
    places = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    # Of few sources a third: second images are among the bright ones too, and have no second image.
    bright = np.argsort(-np.asarray(flux), kind="stable")[: min(PRIMARIES, len(x) // 3)]
    k = min(NEIGHBOURS, len(x))
    tree = cKDTree(places, compact_nodes=False, balanced_tree=False)
    near = tree.query(places[bright], k=k, distance_upper_bound=REACH_PX)[1]
    pair = near < len(x)
    primary, second = np.broadcast_to(bright[:, None], near.shape)[pair], near[pair]
    fainter = flux[second] < flux[primary]
    offset = np.rint(places[second[fainter]] - places[primary[fainter]]).astype(np.int64) + REACH_PX
    side = 2 * REACH_PX + 1
    votes = np.bincount(offset[:, 1] * side + offset[:, 0], minlength=side * side).reshape(side, side)
    around = uniform_filter(votes.astype(np.float64), 3, mode="constant") * 9.0
    around[REACH_PX - CORE_PX : REACH_PX + CORE_PX + 1, REACH_PX - CORE_PX : REACH_PX + CORE_PX + 1] = 0.0
    return min(float(around.max()) / len(bright), 1.0)
