"""What a solution is, how good it is, and whether it may be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.astrometry.config import QualityCuts
from zsds_tasks.science.astrometry.distortion import complex_plane, pixel_grid
from zsds_tasks.science.astrometry.inputs import Cause, DetectedSources, QuadrantView
from zsds_tasks.sky import tangent
from zsds_tasks.sky.wcs import Wcs

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Rung(StrEnum):
    """The ladder, from the cheapest search to the freest."""

    PRIOR = "prior"
    TURNED = "turned"
    PATTERN = "pattern"


class Verdict(StrEnum):
    """Whether a solution may be used."""

    GOOD = "good"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Attempt:
    """What happened on one rung; `cause` is None on the rung that succeeded."""

    rung: Rung
    cause: Cause | None
    reason: str


@dataclass(frozen=True)
class Pairs:
    """The pairs that determined a solution, as row numbers of the input tables.

    Parameters
    ----------
    source, star : (n) int64
    east, north : (n) float64, arcsec
        Source minus star.
    """

    source: Integers
    star: Integers
    east: Floats
    north: Floats

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Residuals:
    """Statistics of source minus star, (east, north), arcsec.

    Parameters
    ----------
    n_measured, n_bright : int
        Stars behind `rms` and `rms_bright`; all stars when none reaches the signal-to-noise ratio.
    rms, rms_bright, median : (east, north)
    pull : (east, north)
        Robust width of residual over expected error; 1 when the errors are right.
    cells : (n, n, 2) float64
        Median residual of each cell of a grid over the image, [row, column]; NaN in cells of few stars.
    worst_cell : float
        Largest length among them; 0 when no cell has enough stars.
    """

    n_measured: int
    n_bright: int
    rms: tuple[float, float]
    rms_bright: tuple[float, float]
    median: tuple[float, float]
    pull: tuple[float, float]
    cells: Floats
    worst_cell: float


@dataclass(frozen=True)
class Departure:
    """How far the solution is from the camera as drawn and the telescope's own word.

    Parameters
    ----------
    pointing_arcsec : (east, north)
        True boresight minus the header's, in the camera frame.
    rotation_deg : float
        True position angle minus the rotator's.
    scale : float
        True pixel scale over nominal, minus one.
    """

    pointing_arcsec: tuple[float, float]
    rotation_deg: float
    scale: float


@dataclass(frozen=True)
class AstrometricSolution:
    """The astrometry of one image.

    Parameters
    ----------
    wcs : Wcs
    degree : int
        Up to which the stars determined the distortion; higher terms are the prior's.
    attempts : tuple of Attempt
        The rungs climbed, the last of them successfully.
    n_sources, n_catalog : int
        Usable sources; catalogue stars inside the image.
    n_clipped : int
        Matched pairs left out of the fit.
    pairs : Pairs
    residuals : Residuals
    departure : Departure
    verdict : Verdict
    remarks : tuple of str
        Every cut that was not met, with its numbers.
    """

    wcs: Wcs
    degree: int
    attempts: tuple[Attempt, ...]
    n_sources: int
    n_catalog: int
    n_clipped: int
    pairs: Pairs
    residuals: Residuals
    departure: Departure
    verdict: Verdict
    remarks: tuple[str, ...]

    @property
    def rung(self) -> Rung:
        """The rung that succeeded."""
        return self.attempts[-1].rung

    @property
    def n_matched(self) -> int:
        """Stars that determined the solution."""
        return len(self.pairs)


def measure_residuals(
    pairs: Pairs, sigma: Floats, sources: DetectedSources, shape: tuple[int, int], cuts: QualityCuts
) -> Residuals:
    """Return the statistics of a solution's residuals.

    Parameters
    ----------
    pairs : Pairs
    sigma : (n) float64, arcsec
        Expected error of each pair per axis.
    sources : DetectedSources
    shape : (nx, ny)
    cuts : QualityCuts
    """
    residual = np.stack([pairs.east, pairs.north], axis=1)
    snr = sources.flux[pairs.source] / sources.flux_error[pairs.source]
    measured, bright = (_or_all(snr >= limit) for limit in (cuts.measured_snr, cuts.bright_snr))
    cells = _cell_medians(sources.x[pairs.source], sources.y[pairs.source], residual, shape, cuts)
    lengths = np.hypot(cells[..., 0], cells[..., 1])
    return Residuals(
        n_measured=int(measured.sum()),
        n_bright=int(bright.sum()),
        rms=_two(np.sqrt(np.mean(residual[measured] ** 2, axis=0))),
        rms_bright=_two(np.sqrt(np.mean(residual[bright] ** 2, axis=0))),
        median=_two(np.median(residual[measured], axis=0)),
        pull=_two(1.4826 * np.median(np.abs(residual / sigma[:, None]), axis=0)),
        cells=cells,
        worst_cell=float(np.nanmax(lengths)) if np.isfinite(lengths).any() else 0.0,
    )


def measure_departure(wcs: Wcs, view: QuadrantView) -> Departure:
    """Compare a solution with the camera as drawn under the telescope's pointing."""
    pointing, nominal = view.pointing, view.nominal
    x, y = pixel_grid(nominal.nx, nominal.ny)
    seen = complex_plane(*tangent.project(*wcs.pixel_to_sky(x, y), pointing.centre, pointing.rotation_deg))
    drawn = complex_plane(*nominal.camera_frame(x, y))
    seen_mean, drawn_mean = seen.mean(), drawn.mean()
    factor = np.vdot(drawn - drawn_mean, seen - seen_mean) / np.vdot(drawn - drawn_mean, drawn - drawn_mean)
    shift = seen_mean - factor * drawn_mean
    return Departure(
        pointing_arcsec=(float(shift.real), float(shift.imag)),
        rotation_deg=-float(np.degrees(np.angle(factor))),
        scale=float(abs(factor) - 1.0),
    )


def judge(
    n_matched: int, residuals: Residuals, departure: Departure, cuts: QualityCuts
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and every cut that was not met."""
    rms, median = max(residuals.rms), max(abs(m) for m in residuals.median)
    off = float(np.hypot(*departure.pointing_arcsec))
    fatal = (
        (n_matched < cuts.min_matches, f"{n_matched} stars matched, under {cuts.min_matches}"),
        (rms > cuts.rms_fail_arcsec, f"RMS {rms:.3f} arcsec, over {cuts.rms_fail_arcsec:g}"),
        (
            abs(departure.scale) > cuts.scale_tolerance,
            f"pixel scale off by {departure.scale:+.2%}, over {cuts.scale_tolerance:.2%}",
        ),
    )
    doubtful = (
        (
            cuts.rms_warn_arcsec < rms <= cuts.rms_fail_arcsec,
            f"RMS {rms:.3f} arcsec, over {cuts.rms_warn_arcsec:g}",
        ),
        (
            abs(departure.rotation_deg) > cuts.rotation_tolerance_deg,
            f"rotation off by {departure.rotation_deg:+.3f} deg, over {cuts.rotation_tolerance_deg:g}",
        ),
        (
            off > cuts.pointing_tolerance_arcsec,
            f"pointing off by {off:.0f} arcsec, over {cuts.pointing_tolerance_arcsec:g}",
        ),
        (
            median > cuts.median_tolerance_arcsec,
            f"median residual {median:.3f} arcsec, over {cuts.median_tolerance_arcsec:g}",
        ),
        (
            residuals.worst_cell > cuts.cell_tolerance_arcsec,
            (
                f"a cell's median residual is {residuals.worst_cell:.3f} arcsec, "
                f"over {cuts.cell_tolerance_arcsec:g}"
            ),
        ),
    )
    failed = [text for holds, text in fatal if holds]
    warned = [text for holds, text in doubtful if holds]
    verdict = Verdict.FAIL if failed else Verdict.WARN if warned else Verdict.GOOD
    return verdict, (*failed, *warned)


def _cell_medians(
    x: Floats, y: Floats, residual: Floats, shape: tuple[int, int], cuts: QualityCuts
) -> Floats:
    n = cuts.cells
    column = np.clip(((x - 0.5) * n / shape[0]).astype(np.int64), 0, n - 1)
    row = np.clip(((y - 0.5) * n / shape[1]).astype(np.int64), 0, n - 1)
    cells = np.full((n, n, 2), np.nan)
    for k in range(n * n):
        inside = row * n + column == k
        if np.count_nonzero(inside) >= cuts.min_cell_stars:
            cells[k // n, k % n] = np.median(residual[inside], axis=0)
    return cells


def _or_all(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return chosen if chosen.any() else np.ones_like(chosen)


def _two(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])
