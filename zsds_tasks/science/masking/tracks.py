"""Aircraft and satellites: tracks that cross the whole image get their bit (reference section 3.8).

A line found in coarse cells is looked at in full resolution, in pieces. It is a track if most of its pieces
stand over the strips beside it: a streak of an asteroid, a bleed, a galaxy or a spike of a bright star lights
a few of them. The strips beside say what chance makes of the same stars.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.lines import (
    SIGMA_PER_MAD,
    Cells,
    Image,
    Line,
    LineSearchConfig,
    Mask,
    bin_cells,
    strongest_line,
)
from zsds_tasks.pixels.lines_profile import Floats, best_shift, boxcar, piece_profiles, set_along
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.products.masks import UNUSABLE, MaskBit

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class TrackConfig(Declaration):
    """What is taken for a track and how wide it is masked."""

    search: LineSearchConfig = LineSearchConfig()
    significance: Positive = Field(6.0, description="least of a line in cells to be looked at, sigmas")
    most_looks: Count = Field(12, description="lines looked at in one image")
    pieces: Count = Field(16, description="parts in which a line is looked at")
    half_strip_px: Count = Field(60, description="reach of the strips to either side")
    beside_px: Count = Field(28, description="strips farther off count as beside")
    reach_px: Count = Field(14, description="farthest shift and tilt from the line found in cells")
    lit_sigmas: Positive = Field(3.0, description="of a lit piece over the scatter of strips beside it")
    least_lit: Share = Field(0.65, description="share of pieces that are lit in a track")
    least_evenness: Share = Field(
        0.1, description="median over brightest tenth of the pieces: a spike falls off, a tumbling body less"
    )
    least_width: Share = Field(0.7, description="FWHM in that of the PSF; a bad column is narrower")
    least_px: Positive = Field(5.0, description="width that is masked at least")
    width_fwhm: Positive = Field(3.0, description="width that is masked at least, in FWHM of the PSF")
    edge_sigmas: Positive = Field(0.3, description="of blank sky per pixel, where a wide track ends")


@dataclass(frozen=True)
class Track:
    """A track.

    Parameters
    ----------
    line : Line
        Its middle, 0-based pixels.
    width : float
        Masked, pixels across.
    peak : float
        Of its profile, sigmas of blank sky per pixel.
    significance : float
        In the cells, sigmas.
    lit : float
        Share of its pieces that are lit.
    pixels : int
        How many got the bit.
    """

    line: Line
    width: float
    peak: float
    significance: float
    lit: float
    pixels: int


def mask_tracks(image: Image, mask: Mask, noise: Mesh, fwhm: float, config: TrackConfig) -> tuple[Track, ...]:
    """Set bit TRACK of tracks that cross the image, in place; bleeds must have been masked before.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32, DN
        Background subtracted; not changed.
    mask : numpy.ndarray (ny, nx), uint16
        Changed in place.
    noise : Mesh
        1 sigma of blank sky, DN.
    fwhm : float
        Of the PSF, pixels.
    config : TrackConfig

    Returns
    -------
    tuple of Track
        In the order they were found, the most significant first.

    Raises
    ------
    ValueError
        If shapes do not agree, or the FWHM is not positive.
    """
    if not fwhm > 0:
        raise ValueError(f"a FWHM of {fwhm} pixels")
    cells = bin_cells(image, mask, UNUSABLE, noise, config.search)
    tracks: list[Track] = []
    for _ in range(config.most_looks):
        line, significance = strongest_line(cells, config.search)
        if significance < config.significance:
            break
        track = _look(image, mask, noise, line, fwhm, config)
        if track is not None:
            n = set_along(mask, track.line, track.width / 2, MaskBit.TRACK.flag)
            tracks.append(dataclasses.replace(track, significance=significance, pixels=n))
        # What has been looked at is taken out of the cells, so that the next line is another one.
        gone = (line, 0.0) if track is None else (track.line, track.width / 2)
        cells = _without(cells, *gone)
    return tuple(tracks)


def _look(
    image: Image, mask: Mask, noise: Mesh, line: Line, fwhm: float, config: TrackConfig
) -> Track | None:
    """Return the track at a line, or None if there is none."""
    half = config.half_strip_px
    box = 2 * round(fwhm / 2) + 1
    for reach, wide in ((config.reach_px, box + 2), (3, box)):
        profiles, middles = piece_profiles(image, mask, UNUSABLE, noise, line, half, config.pieces)
        line = line.moved(*best_shift(profiles, middles, wide, reach, 3.0), line.span(image.shape))
    if line.length(image.shape) < config.search.least_length_px:
        return None
    profiles, _ = piece_profiles(image, mask, UNUSABLE, noise, line, half, config.pieces)
    height, scatter = _heights(profiles, box, config.beside_px, line.length(image.shape) / config.pieces)
    known = np.isfinite(height)
    lit = height[known] > config.lit_sigmas * scatter[known]
    if np.count_nonzero(known) < config.pieces / 2 or lit.mean() < config.least_lit:
        return None
    if np.median(height[known]) < config.least_evenness * np.quantile(height[known], 0.9):
        return None
    profile = _mean_profile(profiles[known][lit], config.beside_px)
    across, edge = _widths(profile, config.edge_sigmas, config.beside_px)
    if across / line.stretch < config.least_width * fwhm:
        return None
    width = max(config.least_px, config.width_fwhm * fwhm, edge / line.stretch)
    return Track(line, width, float(profile[half]), 0.0, float(lit.mean()), 0)


def _heights(profiles: Floats, box: int, beside: int, length: float) -> tuple[Floats, Floats]:
    """Return each piece's height over the strips beside it, and their scatter, (pieces) each."""
    half = profiles.shape[1] // 2
    smooth = boxcar(profiles, box)
    is_beside = np.abs(np.arange(-half, half + 1)) >= beside
    heights, scatters = np.full(len(profiles), np.nan), np.full(len(profiles), np.nan)
    for k, row in enumerate(smooth):
        sides = row[is_beside & np.isfinite(row)]
        if np.isfinite(row[half]) and sides.size >= box:
            level = np.median(sides)
            heights[k] = row[half] - level
            # A median of n values scatters by 1.25 / sqrt(n); chance can make the strips look more alike.
            least = 1.25 / math.sqrt(max(length * box, 1.0))
            scatters[k] = max(SIGMA_PER_MAD * float(np.median(np.abs(sides - level))), least)
    return heights, scatters


def _mean_profile(profiles: Floats, beside: int) -> Floats:
    """Return the mean profile of the lit pieces over the strips beside it; 0 where none is known."""
    half = profiles.shape[1] // 2
    is_known = np.isfinite(profiles)
    profile = np.where(is_known, profiles, 0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
    is_beside = np.abs(np.arange(-half, half + 1)) >= beside
    return profile - float(np.median(profile[is_beside]))


def _widths(profile: Floats, edge_sigmas: float, beside: int) -> tuple[float, float]:
    """Return the full width at half of the peak, and twice the distance where the profile has ended."""
    half = len(profile) // 2
    peak = profile[half - 1 : half + 2].max()
    centre = half - 1 + int(np.argmax(profile[half - 1 : half + 2]))
    sides = (profile[centre::-1], profile[centre:])
    at_half = sum(_crossing(side, peak / 2) for side in sides)
    edge = max(_crossing(side, min(edge_sigmas, peak / 2)) for side in sides) + abs(centre - half)
    return at_half, 2 * min(edge, float(beside))


def _crossing(side: NDArray[np.float64], level: float) -> float:
    """Return how far from its start a falling profile crosses a level, interpolated."""
    below = np.flatnonzero(side < level)
    if not below.size:
        return float(len(side))
    k = int(below[0])
    return 0.0 if k == 0 else k - 1 + float((side[k - 1] - level) / (side[k - 1] - side[k]))


def _without(cells: Cells, line: Line, half_width: float) -> Cells:
    """Return the cells without those a line crosses."""
    gone = np.zeros(cells.signal.shape, np.uint16)
    cell = cells.cell
    middle = (cell - 1) / 2
    coarse = Line(line.is_steep, (line.offset + line.slope * middle - middle) / cell, line.slope)
    set_along(gone, coarse, half_width / cell + 1.5, 1)
    kept = (gone == 0).astype(np.float32)
    return Cells(cells.signal * kept, cells.known * kept, cell)
