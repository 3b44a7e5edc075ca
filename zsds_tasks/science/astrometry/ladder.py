"""The rungs: three ways to find a first match, from the cheapest to the freest.

1. prior: the prior model, and the shift on which most pairs agree;
2. turned: the same over a wider field, for every rotation within a degree or two;
3. pattern: triangles, which need neither pointing nor rotation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.astrometry.config import AstrometryConfig
from zsds_tasks.science.astrometry.distortion import complex_plane, design, pixel_grid
from zsds_tasks.science.astrometry.inputs import Cause, Pointing, QuadrantView
from zsds_tasks.science.astrometry.refinement import Positions
from zsds_tasks.science.astrometry.shifts import ShiftPeak, find_shift
from zsds_tasks.science.astrometry.solution import Rung
from zsds_tasks.science.astrometry.triangles import find_similarity
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class RungFailedError(Exception):
    """A rung's way of saying no; never leaves this room."""

    def __init__(self, cause: Cause, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True)
class Task:
    """One image under way, on the tangent plane of its expected middle.

    Parameters
    ----------
    view : QuadrantView
    config : AstrometryConfig
    source_rows, star_rows : (N), (M) int64
        Rows of the input tables behind `positions`, from bright to faint.
    positions : Positions
    half_arcsec : float
        Half the diagonal of the image.
    """

    view: QuadrantView
    config: AstrometryConfig
    source_rows: Integers
    star_rows: Integers
    positions: Positions
    half_arcsec: float

    @property
    def degree(self) -> int:
        """Of the polynomial under way."""
        return max(self.config.fit.degree, self.view.model.degree)

    @cached_property
    def grid(self) -> tuple[Floats, Floats, Floats]:
        """Pixels all over the image, and the matrix that turns their places into a polynomial."""
        model = self.view.model
        x, y = pixel_grid(model.nx, model.ny)
        inverse = np.linalg.pinv(design(x, y, model.nx, model.ny, self.degree))
        return x, y, np.asarray(inverse, np.float64)

    @cached_property
    def centre_distance(self) -> Floats:
        """Distance (arcsec) of the catalogue stars from the expected middle."""
        return np.asarray(np.hypot(*self.positions.catalog.T))

    def start(self, pointing: Pointing) -> Floats:
        """Return the polynomial, (n_terms, 2) arcsec, that the prior model makes of a pointing."""
        x, y, inverse = self.grid
        sky = tangent.deproject(*self.view.model.camera_frame(x, y), pointing.centre, pointing.rotation_deg)
        return np.asarray(inverse @ np.stack(tangent.project(*sky, self.view.centre), axis=1))

    def catalog_within(self, margin: float, count: int) -> Floats:
        """Return the brightest stars within the image's circle and a margin around it."""
        near = np.flatnonzero(self.centre_distance < self.half_arcsec + margin)
        return self.positions.catalog[near[:count]]

    def voters(self, margin: float, n_sources: int) -> tuple[Floats, Floats]:
        """Return the design of the sources that vote, and the stars they vote for."""
        search = self.config.search
        voting = self.positions.design[:n_sources]
        ratio = np.pi * (self.half_arcsec + margin) ** 2 / self.positions.area_arcsec2
        count = max(int(search.catalog_per_source * len(voting) * ratio), search.min_catalog)
        return voting, self.catalog_within(margin, count)


def search_prior(task: Task) -> tuple[Floats, str]:
    """Look for a shift of the prior model.

    Returns
    -------
    start : (n_terms, 2) float64, arcsec
        The polynomial after the search.
    found : str
        What was found, in words.

    Raises
    ------
    RungFailedError
        If no shift stands out.
    """
    search = task.config.search
    start, peak = _best_vote(task, [task.view.pointing], search.shift_radius_arcsec, search.voters)[1:]
    _believe(task, peak, "")
    return _moved(start, peak), f"{peak.pairs} pairs agree, {peak.expected:.1f} expected by chance"


def search_turned(task: Task) -> tuple[Floats, str]:
    """Look for a shift at every rotation; see `search_prior`."""
    search = task.config.search
    steps = int(np.ceil(search.max_turn_deg / search.turn_step_deg))
    angles = np.linspace(-search.max_turn_deg, search.max_turn_deg, 2 * steps + 1)
    pointings = [task.view.pointing.turned(float(angle)) for angle in angles]
    # Without the largest vote: the field is wider here, and there are many angles.
    voters = search.voters[1:] or search.voters
    best, start, peak = _best_vote(task, pointings, search.wide_radius_arcsec, voters)
    turn = f" turned by {angles[best]:+.2f} deg"
    _believe(task, peak, turn)
    return _moved(start, peak), f"{peak.pairs} pairs agree{turn}, {peak.expected:.1f} expected by chance"


def search_pattern(task: Task) -> tuple[Floats, str]:
    """Look for triangles of the same shape; see `search_prior`."""
    search = task.config.search
    start = task.start(task.view.pointing)
    sources = complex_plane(*(task.positions.design[: search.pattern_sources] @ start).T)
    catalog = complex_plane(*task.catalog_within(search.wide_radius_arcsec, search.pattern_catalog).T)
    similarity = find_similarity(sources, catalog, search)
    if similarity.votes < search.pattern_min_votes:
        raise RungFailedError(
            Cause.NO_PEAK,
            f"{similarity.votes} triangles of {len(sources)} sources and {len(catalog)} stars agree, "
            f"under {search.pattern_min_votes}",
        )
    plane = complex_plane(*start.T) * similarity.factor
    plane[0] += similarity.shift
    angle = -np.degrees(np.angle(similarity.factor))
    found = f"{similarity.votes} triangles agree turned by {angle:+.2f} deg"
    return np.stack([plane.real, plane.imag], axis=1), found


LADDER: dict[Rung, Callable[[Task], tuple[Floats, str]]] = {
    Rung.PRIOR: search_prior,
    Rung.TURNED: search_turned,
    Rung.PATTERN: search_pattern,
}


def _best_vote(
    task: Task, pointings: list[Pointing], radius: float, voters: tuple[int, ...]
) -> tuple[int, Floats, ShiftPeak]:
    """Return the least accidental peak: which pointing, its polynomial, the peak with its chance over all.

    Fewer voters may see a peak that more of them drown: of a deep image only the brightest sources are in
    the catalogue.
    """
    starts = [task.start(pointing) for pointing in pointings]
    best: tuple[int, ShiftPeak] | None = None
    trials = 0
    for n_sources in voters:
        voting, catalog = task.voters(radius, n_sources)
        for k, start in enumerate(starts):
            peak = find_shift(voting @ start, catalog, radius, task.config.search.cell_arcsec)
            if best is None or peak.chance < best[1].chance:
                best = k, peak
        trials += len(starts)
        if best is not None and best[1].chance < task.config.search.certain_chance:
            break
    assert best is not None  # noqa: S101 - there is a pointing and a vote; narrows for mypy
    return best[0], starts[best[0]], best[1].among(trials)


def _believe(task: Task, peak: ShiftPeak, how: str) -> None:
    if peak.chance > task.config.search.max_chance:
        raise RungFailedError(
            Cause.NO_PEAK,
            f"no peak: at best {peak.pairs} pairs agree on a shift{how}, "
            f"{peak.expected:.1f} expected by chance",
        )


def _moved(start: Floats, peak: ShiftPeak) -> Floats:
    moved = start.copy()
    moved[0] += peak.east, peak.north
    return moved
