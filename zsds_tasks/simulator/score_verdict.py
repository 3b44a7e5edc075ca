"""From the samples of a night to numbers with targets (design section 9), and curves for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zsds_tasks.simulator import score_statistics as stat
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_matching import Columns, rows_of
from zsds_tasks.simulator.score_samples import (
    BRIGHT_SNR,
    CLASSED_SNR,
    COUNTED_SNR,
    MAG_EDGES,
    SNR_EDGES,
    Samples,
    bright_against_faint,
    position_pulls,
    pull_width,
)

PULL_SNR = (10.0, 40.0)
"""Where errors are those of noise: above, what stars have in common counts; below, only some are found."""
ASTROMETRY_MAS, REPEATABILITY_MMAG, ZERO_POINT_MAG, FLUX_BIAS_MMAG = 20.0, 10.0, 0.01, 3.0
PULL_RANGE, LIMIT_RANGE = (0.95, 1.05), (4.75, 5.25)
COMPLETENESS, PURITY, HALF_POINT_SNR, SEPARATION = 0.98, 0.98, 5.3, 0.95
SEEING_ERROR, USABLE = 0.05, 0.95
PULLS_AT = np.geomspace(5.0, 500.0, 13)
BRIGHTNESS = np.arange(13.0, 22.01, 0.5)
PULL_EDGES = np.linspace(-4.0, 4.0, 33)


def measures_of(samples: Samples, seeing: Sequence[float], usable: float, images: int) -> list[Measure]:
    """Return the numbers of a night.

    Parameters
    ----------
    samples : Samples
    seeing : sequence of float
        Measured over true FWHM of each usable image.
    usable : float
        Share of the images with status 1 and everything measured.
    images : int
        How many there are.

    Returns
    -------
    list of Measure
        Those that can be said: a number without stars is left out.
    """
    stars = samples.table()
    found = [
        _at_least("usable images", usable, USABLE, f"images with status 1 among {images}"),
        *_astrometry(stars),
        *_photometry(samples, stars),
        *_pulls(stars),
        *_detection(samples),
        *_images(samples, seeing),
    ]
    return [measure for measure in found if np.isfinite(measure.value)]


def _astrometry(stars: Columns) -> Iterator[Measure]:
    bright = rows_of(stars, stars["snr"] > BRIGHT_SNR)
    words = f"robust RMS against the truth of {len(bright['mag']):,} lonely stars of S/N over {BRIGHT_SNR:g}"
    for axis in ("east", "north"):
        yield _at_most(f"astrometry {axis}, mas", stat.about_zero(bright[axis]), ASTROMETRY_MAS, words)


def _photometry(samples: Samples, stars: Columns) -> Iterator[Measure]:
    rest, bright = repeated(stars)
    again = rest[np.isfinite(rest) & bright]
    words = f"scatter of one bright star's magnitudes over exposures of a filter; {len(again):,} measures"
    yield _at_most("repeatability, mmag", 1000 * stat.width(again), REPEATABILITY_MMAG, words)
    errors = np.abs([error for _, error in samples.zero_points])
    typical = float(np.percentile(errors, 68.3)) if len(errors) else float("nan")
    words = f"two thirds of {len(errors)} images have a median magnitude error (colour term applied) below"
    yield _at_most("zero-point error, mag", typical, ZERO_POINT_MAG, words)
    bias = 1000 * bright_against_faint(stars)
    words = f"median error of stars of S/N over {BRIGHT_SNR:g} against those of {CLASSED_SNR:g} to 50, size"
    yield _at_most("flux bias of bright stars, mmag", abs(bias), FLUX_BIAS_MMAG, words)


def _pulls(stars: Columns) -> Iterator[Measure]:
    low, high = PULL_SNR
    some = rows_of(stars, (stars["snr"] > low) & (stars["snr"] < high))
    words = f"errors over their sigmas of {len(some['mag']):,} stars of S/N {low:g} to {high:g}"
    target = f"should be {PULL_RANGE[0]} to {PULL_RANGE[1]}"
    for name, pulls in (("flux", some["flux_pull"]), ("position", position_pulls(some))):
        yield _within(f"{name} pull width", pull_width(pulls), 1.0, PULL_RANGE, f"{words}; {target}")


def _detection(samples: Samples) -> Iterator[Measure]:
    true, found, claimed, real = (int(n) for n in samples.counted)
    if true:
        words = f"{found:,} of {true:,} lonely stars of expected S/N over {COUNTED_SNR:g} were found"
        yield _at_least("completeness", found / true, COMPLETENESS, words)
    if claimed:
        words = f"{real:,} of {claimed:,} unflagged sources of S/N over {COUNTED_SNR:g} are real"
        yield _at_least("purity", real / claimed, PURITY, words)
    words = "expected S/N at which half of the stars are found"
    yield _at_most("half-completeness S/N", half_point(samples), HALF_POINT_SNR, words)
    galaxies, stars = samples.classes
    words = f"chance that a star has the higher class of a star and a galaxy, S/N over {CLASSED_SNR:g}"
    yield _at_least("star-galaxy separation", stat.separation(galaxies, stars), SEPARATION, words)


def _images(samples: Samples, seeing: Sequence[float]) -> Iterator[Measure]:
    ratios = np.asarray(seeing, np.float64)
    error = float(np.median(np.abs(ratios - 1))) if len(ratios) else float("nan")
    ratio = float(np.median(ratios)) if len(ratios) else float("nan")
    words = f"median of |measured over true FWHM - 1|; the median ratio is {ratio:.3f}"
    yield _at_most("seeing error", error, SEEING_ERROR, words)
    limit = float(np.median(samples.limits)) if samples.limits else float("nan")
    words = f"S/N of sources scaled to the limiting magnitude; should be {LIMIT_RANGE[0]} to {LIMIT_RANGE[1]}"
    yield _within("S/N at the limit", limit, 5.0, LIMIT_RANGE, words)


def half_point(samples: Samples) -> float:
    """Return the expected S/N at which completeness falls through one half; NaN if it does not."""
    share = np.array(stat.shares(samples.near_limit[1], samples.near_limit[0]), np.float64)
    middle = np.sqrt(SNR_EDGES[1:] * SNR_EDGES[:-1])
    return 1 / stat.crossing(1 / middle[::-1], share[::-1], 0.5)


def repeated(stars: Columns) -> tuple[Any, Any]:
    """Return what repeated measures scatter by (mag; NaN of stars seen once), and which stars are bright.

    Stars are compared within a filter; each exposure's median is taken away, as relative calibration would.
    """
    rest = np.full(len(stars["mag"]), np.nan)
    for fid in np.unique(stars["fid"]):
        rows = np.flatnonzero((stars["fid"] == fid) & (stars["snr"] > CLASSED_SNR))
        some = rows_of(stars, rows)
        rest[rows] = stat.repeatability(some["residual"], some["object_id"], some["expid"])
    return rest, stars["snr"] > BRIGHT_SNR


def curves_of(samples: Samples, filters: Mapping[int, str]) -> dict[str, Any]:
    """Return the curves of a night for JSON; None stands where a bin holds too few.

    Parameters
    ----------
    samples : Samples
    filters : mapping
        Names by fid.

    Returns
    -------
    dict
        ``completeness``: depth (mag from the limit), completeness, purity. ``limit``: snr, completeness.
        ``pulls``: snr, flux, position (widths); edges, flux_share, position_share (histograms).
        ``repeatability``: mag, and by name of filter mmag and expected (from the errors).
        ``flux_bias``: mag, and by name of filter mmag. ``astrometry``: snr, east, north (mas).
    """
    stars = samples.table()
    rest, _ = repeated(stars)
    middle = [float(f"{c:.4g}") for c in np.sqrt(PULLS_AT[1:] * PULLS_AT[:-1])]
    by_filter = {fid: np.flatnonzero(stars["fid"] == fid) for fid in filters}
    return {
        "completeness": {
            "depth": stat.centres(MAG_EDGES),
            "completeness": stat.shares(samples.found, samples.true),
            "purity": stat.shares(samples.real, samples.claimed),
        },
        "limit": {
            "snr": [float(f"{c:.4g}") for c in np.sqrt(SNR_EDGES[1:] * SNR_EDGES[:-1])],
            "completeness": stat.shares(samples.near_limit[1], samples.near_limit[0]),
        },
        "pulls": _pull_curves(stars, middle),
        "repeatability": {"mag": stat.centres(BRIGHTNESS)}
        | {filters[fid]: _scatter(stars, rest, rows) for fid, rows in by_filter.items() if len(rows)},
        "flux_bias": {"mag": stat.centres(BRIGHTNESS)}
        | {filters[fid]: _bias(stars, rows) for fid, rows in by_filter.items() if len(rows)},
        "astrometry": {"snr": middle}
        | {
            axis: stat.by_bin(stat.about_zero, stars[axis], stars["snr"], PULLS_AT)
            for axis in ("east", "north")
        },
    }


def _pull_curves(stars: Columns, middle: list[float]) -> dict[str, Any]:
    chosen = rows_of(stars, (stars["snr"] > PULL_SNR[0]) & (stars["snr"] < PULL_SNR[1]))
    place = np.concatenate([stars["east"] / stars["sigpos"], stars["north"] / stars["sigpos"]])
    twice = np.concatenate([stars["snr"], stars["snr"]])
    curves: dict[str, Any] = {
        "snr": middle,
        "flux": stat.by_bin(stat.width, stars["flux_pull"], stars["snr"], PULLS_AT),
        "position": stat.by_bin(stat.width, place, twice, PULLS_AT),
        "edges": [float(e) for e in PULL_EDGES],
    }
    for name, pulls in (("flux_share", chosen["flux_pull"]), ("position_share", position_pulls(chosen))):
        counts = np.histogram(pulls, PULL_EDGES)[0]
        curves[name] = [stat.rounded(n / max(len(pulls), 1)) for n in counts]
    return curves


def _scatter(stars: Columns, rest: Any, rows: Any) -> dict[str, Any]:
    again = rows[np.isfinite(rest[rows])]
    sigma = 1085.7 / stars["snr"]
    mag = stars["mag"][again]
    return {
        "mmag": stat.by_bin(lambda v: 1000 * stat.width(v), rest[again], mag, BRIGHTNESS),
        "expected": stat.by_bin(np.median, sigma[again], mag, BRIGHTNESS),
    }


def _bias(stars: Columns, rows: Any) -> list[float | None]:
    rest = 1000 * (stars["residual"] - stars["zero_point"])[rows]
    return stat.by_bin(np.median, rest, stars["mag"][rows], BRIGHTNESS)


def _at_most(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, _short(value), target, bool(value <= target), sentence)


def _at_least(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, _short(value), target, bool(value >= target), sentence)


def _within(name: str, value: float, target: float, bounds: tuple[float, float], sentence: str) -> Measure:
    return Measure(name, _short(value), target, bool(bounds[0] <= value <= bounds[1]), sentence)


def _short(value: float) -> float:
    return float(f"{value:.4g}") if np.isfinite(value) else float("nan")
