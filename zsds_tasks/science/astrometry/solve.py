"""From an approximate pointing to an astrometric solution, or to the reason why there is none.

The rungs of `ladder` are climbed until one finds a match that refines to a solution which chance does not
explain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.astrometry.config import AstrometryConfig
from zsds_tasks.science.astrometry.distortion import design
from zsds_tasks.science.astrometry.inputs import Cause, DetectedSources, QuadrantView, ReferenceStars
from zsds_tasks.science.astrometry.ladder import LADDER, RungFailedError, Task
from zsds_tasks.science.astrometry.refinement import Fit, Positions, refine
from zsds_tasks.science.astrometry.solution import (
    AstrometricSolution,
    Attempt,
    Pairs,
    judge,
    measure_departure,
    measure_residuals,
)
from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import Wcs, fit_wcs

Floats = NDArray[np.float64]
EXCESS_SIGMA = 5.0  # of the matches over those by chance


def solve(
    sources: DetectedSources,
    stars: ReferenceStars,
    view: QuadrantView,
    config: AstrometryConfig | None = None,
) -> AstrometricSolution:
    """Solve the astrometry of one image.

    Parameters
    ----------
    sources : DetectedSources
    stars : ReferenceStars
        All within `view.search_radius_deg(config.search.wide_radius_arcsec)` of `view.centre`.
    view : QuadrantView
    config : AstrometryConfig, optional

    Returns
    -------
    AstrometricSolution
        Its verdict says whether it may be used.

    Raises
    ------
    UnusableInputError
        If there is none: a value is not finite, sources or catalogue are too few, no rung found a match.
        The fact `cause` is a `Cause`; the message tells what each rung found.
    """
    config = config or AstrometryConfig()
    task = _prepare(sources, stars, view, config)
    attempts: list[Attempt] = []
    for rung, search in LADDER.items():
        try:
            start, found = search(task)
            fit = _accept(refine(start, task.positions, config.fit), config)
        except RungFailedError as failure:
            attempts.append(Attempt(rung, failure.cause, str(failure)))
            continue
        attempts.append(Attempt(rung, None, found))
        return _finish(task, fit, sources, tuple(attempts))
    raise UnusableInputError(
        "no astrometric solution: " + "; ".join(f"{a.rung}: {a.reason}" for a in attempts),
        subject=view.subject,
        remedy="look at the image for clouds, trailing or a wrong pointing",
        # The rung that came furthest says most: matches beat peaks.
        cause=str(max((a.cause for a in attempts if a.cause), key=list(Cause).index)),
    )


def _prepare(
    sources: DetectedSources, stars: ReferenceStars, view: QuadrantView, config: AstrometryConfig
) -> Task:
    sources.check(view.subject)
    stars.check(view.subject)
    usable = np.flatnonzero((sources.flags & config.fit.unusable_flags) == 0)
    if len(usable) < config.fit.min_matches:
        raise UnusableInputError(
            f"{len(usable)} usable of {len(sources)} sources, astrometry needs {config.fit.min_matches}",
            subject=view.subject,
            remedy="look at the image for clouds or a closed shutter",
            cause=str(Cause.TOO_FEW_SOURCES),
        )
    rows = usable[np.argsort(-sources.flux[usable], kind="stable")]
    model = view.model
    half = view.search_radius_deg(0.0) * 3600.0
    catalog = np.stack(tangent.project(*stars.at(view.mjd), view.centre), axis=1)
    # NaN, behind the plane, is not nearer either.
    near = np.flatnonzero(np.hypot(*catalog.T) < half + config.search.wide_radius_arcsec)
    if len(near) == 0:
        raise UnusableInputError(
            f"no catalogue star within {half + config.search.wide_radius_arcsec:.0f} arcsec of "
            f"ra {view.centre[0]:.4f}, dec {view.centre[1]:.4f}, {len(stars)} were given",
            subject=view.subject,
            remedy="read the catalogue around the expected place of the image",
            cause=str(Cause.CATALOG_EMPTY),
        )
    near = near[np.argsort(stars.mag[near], kind="stable")]
    degree = max(config.fit.degree, model.degree)
    scale = _pixel_scale(view)
    error = scale * np.sqrt((sources.x_error[rows] ** 2 + sources.y_error[rows] ** 2) / 2)
    positions = Positions(
        design=design(sources.x[rows], sources.y[rows], model.nx, model.ny, degree),
        sigma=np.hypot(error, config.fit.floor_arcsec),
        catalog=catalog[near],
        area_arcsec2=model.nx * model.ny * scale**2,
    )
    return Task(view, config, rows, near, positions, half)


def _pixel_scale(view: QuadrantView) -> float:
    (x, y), model = view.model.middle, view.model
    east, north = model.camera_frame(np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    (a, b), (c, d) = np.diff(east[[0, 1, 0, 2]])[::2], np.diff(north[[0, 1, 0, 2]])[::2]
    return float(np.sqrt(abs(a * d - b * c)))


def _accept(fit: Fit, config: AstrometryConfig) -> Fit:
    n, chance = len(fit.match.source), fit.expected_by_chance
    if n < max(config.fit.min_matches, chance + EXCESS_SIGMA * np.sqrt(chance)):
        raise RungFailedError(Cause.TOO_FEW_MATCHES, f"{n} stars matched, {chance:.1f} expected by chance")
    rms = np.sqrt(np.mean(fit.residuals**2, axis=0))
    if rms.max() > config.cuts.rms_fail_arcsec:
        raise RungFailedError(
            Cause.RESIDUALS_TOO_LARGE,
            f"RMS {rms[0]:.2f} and {rms[1]:.2f} arcsec of {n} stars, over {config.cuts.rms_fail_arcsec:g}",
        )
    return fit


def _finish(
    task: Task, fit: Fit, sources: DetectedSources, attempts: tuple[Attempt, ...]
) -> AstrometricSolution:
    model, view = task.view.model, task.view
    wcs = _wcs_of(task, fit.coefficients)
    pairs = Pairs(
        task.source_rows[fit.match.source],
        task.star_rows[fit.match.star],
        *np.ascontiguousarray(fit.residuals.T),
    )
    shape = (model.nx, model.ny)
    sigma = task.positions.sigma[fit.match.source]
    residuals = measure_residuals(pairs, sigma, sources, shape, task.config.cuts)
    departure = measure_departure(wcs, view)
    verdict, remarks = judge(len(pairs), residuals, departure, task.config.cuts)
    return AstrometricSolution(
        wcs=wcs,
        degree=fit.degree,
        attempts=attempts,
        n_sources=len(task.source_rows),
        n_catalog=_n_inside(task, wcs),
        n_clipped=fit.n_clipped,
        pairs=pairs,
        residuals=residuals,
        departure=departure,
        verdict=verdict,
        remarks=remarks,
    )


def _wcs_of(task: Task, coefficients: Floats) -> Wcs:
    model = task.view.model
    x, y, _ = task.grid
    plane = design(x, y, model.nx, model.ny, task.degree) @ coefficients
    ra, dec = tangent.deproject(plane[:, 0], plane[:, 1], task.view.centre)
    return fit_wcs(x, y, ra, dec, crpix=model.middle, degree=task.degree)


def _n_inside(task: Task, wcs: Wcs) -> int:
    """Count the catalogue stars inside the image; a linear map is right to a pixel at its edge."""
    model = task.view.model
    x, y, _ = task.grid
    plane = np.stack(tangent.project(*wcs.pixel_to_sky(x, y), task.view.centre))
    columns = np.stack([np.ones(len(x)), *plane], axis=1)
    offsets = np.stack([x - model.middle[0], y - model.middle[1]], axis=1)
    linear = np.linalg.lstsq(columns, offsets, rcond=None)[0]
    dx, dy = np.abs(task.positions.catalog @ linear[1:] + linear[0]).T
    return int(np.count_nonzero((dx < model.nx / 2) & (dy < model.ny / 2)))
