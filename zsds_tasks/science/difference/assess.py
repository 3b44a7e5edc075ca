"""Is a difference image good enough? Metrics, cuts and reasons (reference section 6.6)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.subtraction import Subtraction
from zsds_tasks.science.difference.align import robust_sigma
from zsds_tasks.science.difference.subtract import DifferenceImage

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Status = Literal["pass", "warn", "fail"]
STAR_PX = 5  # half side of what is left of a star
CELLS = 4


class Cut(Declaration):
    """Where a metric passes and where it fails; between the two it is a warning. None: no such bound."""

    pass_low: float | None = Field(None, description="passes from here on")
    pass_high: float | None = Field(None, description="passes up to here")
    fail_low: float | None = Field(None, description="fails below")
    fail_high: float | None = Field(None, description="fails above")

    def status(self, value: float) -> Status:
        """Return how a value is judged; what is not a number is a warning."""
        if not np.isfinite(value):
            return "warn"
        if _beyond(value, self.fail_low, self.fail_high):
            return "fail"
        return "warn" if _beyond(value, self.pass_low, self.pass_high) else "pass"


def _beyond(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


class AssessConfig(Declaration):
    """The cuts, by name of metric, and how the limit is computed."""

    cuts: dict[str, Cut] = Field(
        default={
            "overlap": Cut(pass_low=0.70, fail_low=0.50),
            "gain_over_zero_points": Cut(pass_low=0.95, pass_high=1.05, fail_low=0.90, fail_high=1.10),
            "registration_px": Cut(pass_high=0.35, fail_high=0.6),
            "score_scatter": Cut(pass_low=0.9, pass_high=1.15, fail_low=0.8, fail_high=1.4),
            "level": Cut(pass_high=0.1, fail_high=0.3),
            "worst_level": Cut(pass_high=0.1, fail_high=0.5),
            "candidates": Cut(pass_high=1000, fail_high=5000),
            "positive_over_negative": Cut(pass_low=0.5, pass_high=2.0, fail_low=0.2, fail_high=5.0),
            "star_residual": Cut(pass_high=0.02, fail_high=0.05),
            "diffmaglim": Cut(fail_low=17.5),
            "below_field_limit": Cut(pass_high=1.0),
        },
        description="of the metrics; one that is not named is not judged",
    )
    limit_sigma: Annotated[float, Field(gt=0)] = Field(5.0, description="of diffmaglim")
    bright_snr: Annotated[float, Field(gt=0)] = Field(8.0, description="of both signs compared")
    bright_least: Annotated[int, Field(ge=1)] = Field(
        50, description="so many of either sign are needed for a ratio"
    )
    step_px: Annotated[int, Field(ge=1, le=64)] = Field(5, description="every how manieth pixel is looked at")


@dataclass(frozen=True)
class Metrics:
    """What is measured of a difference image.

    Parameters
    ----------
    overlap : float
        Share of pixels usable in both images.
    gain_factor, gain_over_zero_points : float
        Of the flux scale in the middle; over what the zero points say.
    gain_scatter : float
        Relative scatter of the stars' ratios.
    n_matches : float
        Stars the scale is from.
    registration_px : float
        The larger of the errors per axis.
    offset_px : float
        Residual offset left.
    noise : float
        Median noise of a pixel of D in blank sky, DN.
    score_scatter : float
        Robust scatter of S_corr.
    level, worst_level : float
        Median of D over its noise, absolute: of all, and the largest of 4 x 4 cells.
    candidates, positive_over_negative : float
        Both signs; ratio of the bright ones, NaN where they are few.
    star_residual : float
        Median of what is left of the matched stars, absolute, over their flux.
    fwhm_px : float
        Of P_D.
    diffmaglim : float, mag
        5 sigma for a point source, noise of the whole image.
    below_field_limit : float, mag
        What is missing to the median limit of its field; NaN where that is not known.
    """

    overlap: float
    gain_factor: float
    gain_over_zero_points: float
    gain_scatter: float
    n_matches: float
    registration_px: float
    offset_px: float
    noise: float
    score_scatter: float
    level: float
    worst_level: float
    candidates: float
    positive_over_negative: float
    star_residual: float
    fwhm_px: float
    diffmaglim: float
    below_field_limit: float

    def as_dict(self) -> dict[str, float]:
        """Return name and value of each, in order."""
        return {f.name: float(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class Verdict:
    """pass, warn or fail, and why.

    Parameters
    ----------
    status : str
    reasons : tuple of str
        Of every metric that does not pass: its name, value and cut; the worst first.
    """

    status: Status
    reasons: tuple[str, ...]


def limiting_magnitude(subtraction: Subtraction, zero_point: float, config: AssessConfig) -> float:
    """Return diffmaglim: magnitude of a point source of 5 sigma in the median noise of the image."""
    error = 1 / np.sqrt(float(np.median(subtraction.flux_score)))
    return float(zero_point - 2.5 * np.log10(config.limit_sigma * error))


def measure_difference(
    difference: DifferenceImage,
    scores: tuple[Floats, Floats],
    config: AssessConfig,
    field_limit: float = np.nan,
) -> Metrics:
    """Measure the quality of a difference image.

    Parameters
    ----------
    difference : DifferenceImage
    scores : (positive, negative), float64
        S_corr of the candidates of each sign.
    config : AssessConfig
    field_limit : float
        Median diffmaglim of its field and filter, mag.

    Returns
    -------
    Metrics
    """
    found, alignment = difference.subtraction, difference.alignment
    part = np.s_[:: config.step_px, :: config.step_px]
    score, image = found.score[part], found.difference[part]
    noise = float(np.median(found.noise))
    bright = [int(np.count_nonzero(values > config.bright_snr)) for values in scores]
    ratio = bright[0] / max(bright[1], 1) if max(bright) >= config.bright_least else np.nan
    factor = alignment.factor[0]
    limit = limiting_magnitude(found, difference.zero_point, config)
    usable = score[np.isfinite(score)]
    return Metrics(
        overlap=difference.overlap,
        gain_factor=factor,
        gain_over_zero_points=factor / alignment.zero_point_factor,
        gain_scatter=alignment.scatter,
        n_matches=alignment.n_matches,
        registration_px=max(alignment.sigma_x, alignment.sigma_y),
        offset_px=float(np.hypot(alignment.offset_x, alignment.offset_y)),
        noise=noise,
        score_scatter=robust_sigma(usable.astype(np.float64)) if usable.size else np.nan,
        level=_level(image) / noise,
        worst_level=_worst_level(image) / noise,
        candidates=len(scores[0]) + len(scores[1]),
        positive_over_negative=ratio,
        star_residual=_star_residual(difference),
        fwhm_px=float(np.median(found.fwhms)),
        diffmaglim=limit,
        below_field_limit=field_limit - limit,
    )


def judge(metrics: Metrics, config: AssessConfig, *, inputs_usable: bool = True) -> Verdict:
    """Judge a difference image.

    Parameters
    ----------
    metrics : Metrics
    config : AssessConfig
    inputs_usable : bool
        The science image's own status.
    """
    values = metrics.as_dict()
    found: dict[Status, list[str]] = {"fail": [], "warn": []}
    if not inputs_usable:
        found["fail"].append("the science image is not usable")
    for name, cut in config.cuts.items():
        status = cut.status(values[name])
        # Without a field's history, or without stars, there is nothing to say.
        if status != "pass" and np.isfinite(values[name]):
            found[status].append(f"{name} {values[name]:.4g}, {_bounds(cut)}")
    worst: Status = "fail" if found["fail"] else ("warn" if found["warn"] else "pass")
    return Verdict(worst, tuple(found["fail"] + found["warn"]))


def _bounds(cut: Cut) -> str:
    def span(low: float | None, high: float | None) -> str:
        return f"{'' if low is None else f'{low:g}'} to {'' if high is None else f'{high:g}'}".strip()

    return f"passes {span(cut.pass_low, cut.pass_high)}, fails outside {span(cut.fail_low, cut.fail_high)}"


def _level(image: Image) -> float:
    usable = image[np.isfinite(image)]
    return abs(float(np.median(usable))) if usable.size else np.nan


def _worst_level(image: Image) -> float:
    """Return the largest absolute median of the cells that have pixels."""
    rows = np.array_split(np.arange(image.shape[0]), CELLS)
    columns = np.array_split(np.arange(image.shape[1]), CELLS)
    levels = [_level(image[np.ix_(i, j)]) for i in rows for j in columns]
    known = [value for value in levels if np.isfinite(value)]
    return max(known) if known else np.nan


def _star_residual(difference: DifferenceImage) -> float:
    """Return the median of the flux left at the matched stars over their flux."""
    alignment, found = difference.alignment, difference.subtraction
    x, y = np.rint(alignment.xpos - 1).astype(np.intp), np.rint(alignment.ypos - 1).astype(np.intp)
    scale = alignment.factor[0] if difference.units == "reference" else 1.0
    ny, nx = found.difference.shape
    inside = (x >= STAR_PX) & (x < nx - STAR_PX) & (y >= STAR_PX) & (y < ny - STAR_PX) & (alignment.flux > 0)
    tile = found.tiles.at(alignment.xpos - 1, alignment.ypos - 1)
    steps = np.arange(-STAR_PX, STAR_PX + 1)
    left = []
    for k in np.unique(tile[inside]):
        rows = np.flatnonzero(inside & (tile == k))
        boxes = found.difference[y[rows, None, None] + steps[:, None], x[rows, None, None] + steps]
        psf = found.psfs[k].stamp(0, 0, len(steps)).astype(np.float64)
        flux = (boxes * psf).sum(axis=(1, 2)) / (psf**2).sum()
        left.append(np.abs(flux) / (scale * alignment.flux[rows]))
    every = np.concatenate([np.empty(0), *left])
    every = every[np.isfinite(every)]  # a star with a hole beside it says nothing
    return float(np.median(every)) if every.size else np.nan
