"""From samples of a night's differences to numbers with targets (design section 9), and curves for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.simulator import score_statistics as stat
from zsds_tasks.simulator.candidate_artefacts import ARTEFACT_KINDS
from zsds_tasks.simulator.candidate_changes import ASTEROID, REAL_KINDS, STREAK, TRANSIENT, VARIABLE
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_candidate_samples import DifferenceSamples
from zsds_tasks.simulator.score_matching import Columns, rows_of

SURE_SNR = 6.0
COMPLETENESS, HALF_POINT_SNR, BOGUS_BEFORE, BOGUS_AFTER, RECALL = 0.95, 5.1, 30.0, 1.0, 0.98
FLUX_BIAS_MMAG, PULL_RANGE, USABLE, LOST, WRONG_NAMES = 2.0, (0.95, 1.05), 0.95, 0.2, 0.001
BRIGHT_SNR, PULL_SNR = 20.0, (8.0, 50.0)
SIGMAS = 3.0
"""Bias, pulls and half point are met within so many of their errors: few changes do not fail by chance."""
LEAST = 20
"""Fewer changes than this say nothing about a share or a width."""
SNR_EDGES = np.array([3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.5, 10.0, 14.0, 20.0, 40.0, 100.0])
DEPTH_EDGES = np.arange(-4.0, 1.01, 0.5)
PULL_EDGES = np.linspace(-4.0, 4.0, 17)
CLASSES = (TRANSIENT, VARIABLE, ASTEROID)


def measures_of(
    samples: DifferenceSamples, usable: tuple[int, int], scores: str, names: Mapping[str, int]
) -> list[Measure]:
    """Return the numbers of a night.

    Parameters
    ----------
    samples : DifferenceSamples
    usable : (usable, all)
        Difference images.
    scores : str
        Which score was applied; empty if none.
    names : mapping
        Counts of `alert_names`; empty if there are no alerts.

    Returns
    -------
    list of Measure
        Those that can be said.
    """
    changes, candidates = samples.all_changes(), samples.all_candidates()
    words = f"{usable[0]} of {usable[1]} difference images have status 1"
    found = [
        _at_least("usable difference images", usable[0] / max(usable[1], 1), USABLE, words),
        *_completeness(changes),
        *_bogus(candidates, samples.images, scores),
        *(_recall(changes, scores) if scores else ()),
        *_accuracy(changes),
        *_alerts(candidates, names),
    ]
    return [measure for measure in found if np.isfinite(measure.value)]


def _completeness(changes: Columns) -> Iterator[Measure]:
    some = rows_of(changes, changes["judged"])
    sure = some["found"][some["snr"] > SURE_SNR]
    if len(sure) >= LEAST:
        words = (
            f"{sure.sum():,} of {len(sure):,} planted changes of expected S/N over {SURE_SNR:g} were found"
        )
        yield _at_least("completeness of changes", float(sure.mean()), COMPLETENESS, words)
    half, error = half_point(some)
    words = f"expected S/N at which half of the planted changes are found, good to {error:.2f}"
    ok = bool(half <= HALF_POINT_SNR + SIGMAS * error)
    name = "half-completeness S/N of changes"
    yield Measure(name, _short(half), HALF_POINT_SNR, ok, words)


def half_point(changes: Columns) -> tuple[float, float]:
    """Return the expected S/N at which half are found, and its error.

    Of a logistic curve in S/N, by maximum likelihood: few changes lie near the limit, and a curve fitted to
    all needs no bins. Its information is steepness times density of changes there. NaN of fewer than `LEAST`.
    """
    near = (changes["snr"] > 2.5) & (changes["snr"] < 12.0)
    snr, found = changes["snr"][near].astype(np.float64), changes["found"][near].astype(np.float64)
    if len(snr) < LEAST or found.all() or not found.any():
        return float("nan"), float("nan")
    middle, steep = np.meshgrid(np.arange(2.5, 9.0, 0.05), np.geomspace(0.6, 6.0, 16), indexing="ij")
    likely = np.zeros(middle.shape)
    for s, is_found in zip(snr, found, strict=True):
        likely -= np.logaddexp(0.0, (1 - 2 * is_found) * steep * (s - middle))
    best = likely.argmax()
    density = np.count_nonzero(np.abs(snr - middle.flat[best]) < 1.0) / 2
    return float(middle.flat[best]), float(1 / np.sqrt(max(steep.flat[best] * density, 1e-6)))


def _bogus(candidates: Columns, images: int, scores: str) -> Iterator[Measure]:
    if not images:
        return
    wrong = ~candidates["is_real"]
    words = f"{wrong.sum():,} of {len(wrong):,} candidates of {images} images are not real"
    yield _at_most("bogus per quadrant before scoring", wrong.sum() / images, BOGUS_BEFORE, words)
    if scores:
        kept = wrong & candidates["passed"]
        words = f"{kept.sum():,} candidates with {scores} are not real"
        yield _at_most("bogus per quadrant after scoring", kept.sum() / images, BOGUS_AFTER, words)


def _recall(changes: Columns, scores: str) -> Iterator[Measure]:
    for kind in CLASSES:
        kept = changes["scored"][(changes["kind"] == kind) & changes["found"]]
        if len(kept) >= LEAST:
            words = f"{kept.sum():,} of {len(kept):,} found have {scores}"
            yield _at_least(f"recall of {kind}s at the threshold", float(kept.mean()), RECALL, words)


def _accuracy(changes: Columns) -> Iterator[Measure]:
    some = rows_of(changes, changes["judged"] & changes["found"])
    true = some["true"]
    bright = some["snr"] > BRIGHT_SNR
    if bright.sum() >= LEAST:
        off = -2500 * np.log10(some["flux"][bright] / true[bright])
        bias, error = float(np.median(off)), 1.25 * stat.width(off) / np.sqrt(bright.sum())
        words = f"median error of {bright.sum()} changes of S/N over {BRIGHT_SNR:g}, good to {error:.1f}"
        value = abs(bias)
        ok = value <= FLUX_BIAS_MMAG + SIGMAS * error
        yield Measure("flux bias of differences, mmag", _short(value), FLUX_BIAS_MMAG, bool(ok), words)
    middle = (some["snr"] > PULL_SNR[0]) & (some["snr"] < PULL_SNR[1])
    pulls = {
        "flux": ((some["flux"] - true) / some["sigflux"])[middle],
        "position": np.concatenate([(some[axis] / some["sigpos"])[middle] for axis in ("east", "north")]),
    }
    for name, values in pulls.items():
        if middle.sum() >= LEAST:
            # A width from the median deviation is good to 1.17 / sqrt(n).
            error = 1.17 / np.sqrt(len(values))
            slack = PULL_RANGE[1] - 1 + SIGMAS * error
            words = f"errors over their sigmas of {middle.sum()} changes of S/N {PULL_SNR[0]:g} to "
            words += f"{PULL_SNR[1]:g}; should be {PULL_RANGE[0]} to {PULL_RANGE[1]}, good to {error:.2f}"
            width = stat.width(values)
            ok = bool(1 - slack <= width <= 1 + slack)
            yield Measure(f"{name} pull width of differences", _short(width), 1.0, ok, words)


def _alerts(candidates: Columns, names: Mapping[str, int]) -> Iterator[Measure]:
    if not names:
        return
    # Streaks are refused by their shape on purpose: they have a stream of their own.
    reasons = candidates["reason"][candidates["is_real"] & (candidates["kind"] != STREAK)]
    if len(reasons) >= LEAST:
        lost = {reason: int((reasons == reason).sum()) for reason in np.unique(reasons) if reason}
        words = ", ".join(f"{n} by {reason}" for reason, n in sorted(lost.items(), key=lambda x: -x[1]))
        words = f"of {len(reasons):,} real points the triggering criteria refuse: {words or 'none'}"
        yield _at_most("real candidates that do not trigger", sum(lost.values()) / len(reasons), LOST, words)
    if names["objects"]:
        words = f"of {names['objects']:,} objects that alerted {names['split']} have several names, "
        words += f"{names['merged']} names have several objects"
        wrong = (names["split"] + names["merged"]) / names["objects"]
        yield _at_most("split or merged names", wrong, WRONG_NAMES, words)


def curves_of(samples: DifferenceSamples, scores: str) -> dict[str, Any]:
    """Return the curves of a night's differences for JSON; None stands where a bin holds too few.

    Returns
    -------
    dict
        ``completeness``: snr, found, of (how many). ``depth``: mag (from the limit), found, of. ``pulls``:
        of, edges, flux, position (shares). ``budget``: images, scores, and per kind, real ones first, kind,
        real, before, after (candidates; after is None without scores). ``triggers``: reason, real, bogus
        (refused; the empty reason: triggered).
    """
    changes, candidates = samples.all_changes(), samples.all_candidates()
    some = rows_of(changes, changes["judged"])
    good = rows_of(some, some["found"] & (some["snr"] > PULL_SNR[0]) & (some["snr"] < PULL_SNR[1]))
    pulls = {"flux": (good["flux"] - good["true"]) / good["sigflux"]}
    pulls["position"] = np.concatenate([good[axis] / good["sigpos"] for axis in ("east", "north")])
    counts = {name: np.histogram(values, PULL_EDGES)[0] for name, values in pulls.items()}
    return {
        "completeness": {"snr": stat.centres(SNR_EDGES), **_shares(some["snr"], some["found"], SNR_EDGES)},
        "depth": {"mag": stat.centres(DEPTH_EDGES), **_shares(some["depth"], some["found"], DEPTH_EDGES)},
        "pulls": {"of": len(good["snr"]), "edges": [float(e) for e in PULL_EDGES]}
        | {n: [stat.rounded(c / max(k.sum(), 1)) for c in k] for n, k in counts.items()},
        "budget": {"images": samples.images, "scores": scores, **_budget(candidates, scores)},
        "triggers": _triggers(candidates),
    }


def _shares(places: NDArray[Any], found: NDArray[np.bool_], edges: NDArray[Any]) -> dict[str, Any]:
    whole, part = np.histogram(places, edges)[0], np.histogram(places[found], edges)[0]
    return {"found": stat.shares(part, whole), "of": [int(n) for n in whole]}


def _budget(candidates: Columns, scores: str) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {"kind": [], "real": [], "before": [], "after": []}
    for kind in (*REAL_KINDS, *ARTEFACT_KINDS):
        inside = candidates["kind"] == kind
        if inside.any():
            kept = int((inside & candidates["passed"]).sum()) if scores else None
            for name, value in zip(rows, (kind, kind in REAL_KINDS, int(inside.sum()), kept), strict=True):
                rows[name].append(value)
    return rows


def _triggers(candidates: Columns) -> dict[str, list[Any]]:
    reasons = sorted({str(reason) for reason in candidates["reason"]})
    is_real = candidates["is_real"].astype(bool)
    return {
        "reason": reasons,
        "real": [int((is_real & (candidates["reason"] == r)).sum()) for r in reasons],
        "bogus": [int((~is_real & (candidates["reason"] == r)).sum()) for r in reasons],
    }


def _at_most(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, _short(value), target, bool(value <= target), sentence)


def _at_least(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, _short(value), target, bool(value >= target), sentence)


def _short(value: float) -> float:
    return float(f"{value:.4g}") if np.isfinite(value) else float("nan")
