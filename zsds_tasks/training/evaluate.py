"""How good scores are, kind by kind, on seeds that no model was trained on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Truths = NDArray[np.bool_]
ROC_RATES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
STRENGTHS = (0.0, 5.0, 6.0, 8.0, 12.0, 20.0)
ALONE = 0.3
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def auc(score: Floats, is_real: Truths) -> float:
    """Return the area under the ROC curve: how often a real one scores over a bogus one, ties half."""
    n_real, n_bogus = int(is_real.sum()), int((~is_real).sum())
    if not n_real or not n_bogus:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2.0)[place]
    return float((ranks[is_real].sum() - n_real * (n_real + 1) / 2.0) / (n_real * n_bogus))


def threshold_at(score: Floats, is_real: Truths, rate: float) -> float:
    """Return the least threshold over which no more than this share of the bogus scores."""
    bogus = np.sort(score[~is_real])[::-1]
    if not len(bogus):
        return 0.5
    return float(np.nextafter(np.float32(bogus[min(int(rate * len(bogus)), len(bogus) - 1)]), np.float32(2)))


def evaluate(
    score: Floats, is_real: Truths, kind: NDArray[Any], rate: float, scorr: Floats | None = None
) -> dict[str, Any]:
    """Return threshold, recall by kind, false positives by kind, both by strength, ROC, calibration.

    Parameters
    ----------
    score : numpy.ndarray (n)
    is_real : numpy.ndarray (n), bool
    kind : numpy.ndarray (n), str
    rate : float
        Of false positives, over all bogus.
    scorr : numpy.ndarray (n), optional
        Strength of each; without it nothing is said by strength.
    """
    threshold = threshold_at(score, is_real, rate)
    passes = score >= threshold
    recall: dict[str, Any] = {}
    false_positives: dict[str, Any] = {}
    for name in np.unique(kind):
        here = kind == name
        entry = {"n": int(here.sum()), "share": round(float(passes[here].mean()), 4)}
        entry["auc"] = round(
            auc(score[here | (is_real != is_real[here][0])], is_real[here | (is_real != is_real[here][0])]), 5
        )
        (recall if is_real[here][0] else false_positives)[str(name)] = entry
    return {
        "n_real": int(is_real.sum()),
        "n_bogus": int((~is_real).sum()),
        "auc": round(auc(score, is_real), 5),
        "false_positive_rate": rate,
        "threshold": round(threshold, 4),
        "recall": recall,
        "missed": round(1 - float(passes[is_real].mean()), 4) if is_real.any() else None,
        "false_positives": false_positives,
        "roc": [[r, round(_recall_at(score, is_real, r), 4)] for r in ROC_RATES],
        "calibration": _calibration(score, is_real),
        "by_scorr": [] if scorr is None else by_strength(passes, is_real, scorr),
    }


def _calibration(score: Floats, is_real: Truths) -> list[list[float]]:
    """Return from, to, how many, and the share that is real were real and bogus equally many."""
    found = []
    shares = [(is_real == real) / max(float((is_real == real).sum()), 1.0) for real in (True, False)]
    for low, high in itertools.pairwise(BINS):
        inside = (score >= low) & ((score < high) | (high >= 1.0))
        real, bogus = (float(share[inside].sum()) for share in shares)
        if inside.any():
            found.append([low, high, int(inside.sum()), round(real / (real + bogus), 4)])
    return found


def by_strength(passes: Truths, is_real: Truths, scorr: Floats) -> list[dict[str, Any]]:
    """Return per bin of scorr how many are real and bogus, and which share of each passes."""
    found = []
    for low, high in itertools.pairwise((*STRENGTHS, np.inf)):
        inside = (scorr >= low) & (scorr < high)
        entry: dict[str, Any] = {"from": low, "to": None if np.isinf(high) else high}
        for name, rows in (("real", inside & is_real), ("bogus", inside & ~is_real)):
            share = round(float(passes[rows].mean()), 4) if rows.any() else None
            entry |= {name: int(rows.sum()), f"{name}_passing": share}
        if inside.any():
            found.append(entry)
    return found


def _recall_at(score: Floats, is_real: Truths, rate: float) -> float:
    return float((score[is_real] >= threshold_at(score, is_real, rate)).mean()) if is_real.any() else 0.0


def balanced(kind: NDArray[Any], is_real: Truths, scorr: Floats) -> NDArray[np.float64]:
    """Return weights (n), sum 1, under which neither class nor kind nor strength decides by being frequent.

    Kinds of a class count as the root of their numbers; then, in each bin of scorr, real and bogus weigh the
    same, so that strength alone tells nothing.
    """
    weight = np.zeros(len(kind))
    for name in np.unique(kind):
        here = kind == name
        weight[here] = 1.0 / np.sqrt(here.sum())
    where = np.digitize(scorr, STRENGTHS)
    for one in np.unique(where):
        both = [(where == one) & (is_real == real) for real in (False, True)]
        sums = [float(weight[rows].sum()) for rows in both]
        if min(sums) <= 0:
            weight[both[0] | both[1]] *= ALONE  # nothing to learn from beyond what strength says
            continue
        for rows, total in zip(both, sums, strict=True):
            # A class that is rare in its bin is raised, by no more than tenfold: few rows must not rule.
            weight[rows] *= min(np.sqrt(sums[0] * sums[1]) / total, 10.0)
    return np.asarray(weight / weight.sum())
