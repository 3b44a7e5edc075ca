"""What a night's images leave behind for its score: counts by magnitude and a bounded sample of stars."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.simulator.score_matching import Channel, Columns, Integers, Match, Truths
from zsds_tasks.simulator.score_statistics import width

MAG_EDGES = np.arange(-6.0, 1.51, 0.25)
"""Magnitudes from the limiting magnitude: bins of completeness and purity."""
SNR_EDGES = np.geomspace(2.0, 20.0, 25)
"""Expected S/N: bins near the limit."""
CLASS_EDGES = np.linspace(0.0, 1.0, 51)
LEAST_SNR, COUNTED_SNR, BRIGHT_SNR, CLASSED_SNR = 8.0, 10.0, 100.0, 20.0
"""Stars kept, stars that should be found, bright stars, sources whose class should be known."""
MOST_STARS = 400
"""Of one image; the same ones in every exposure, so that they can be compared."""
LEAST_STARS = 10
"""Images of fewer have no zero point of their own to judge."""
MAS = 3.6e6
LIMIT_RANGE_MAG = (-1.0, -0.5)
"""Where the limiting magnitude is tested: nearer to it only lucky sources are found."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Samples:
    """What is gathered, image by image; its size grows with the number of images alone."""

    true: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(MAG_EDGES) - 1, np.int64))
    """Stars that could have been found, by magnitude from the limit."""
    found: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(MAG_EDGES) - 1, np.int64))
    claimed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(MAG_EDGES) - 1, np.int64))
    """Sources in the tables, by measured magnitude from the limit."""
    real: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(MAG_EDGES) - 1, np.int64))
    counted: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    """Above `COUNTED_SNR`: true stars, found of them, sources, real of them."""
    near_limit: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, len(SNR_EDGES) - 1), np.int64))
    """Stars and found ones by expected S/N."""
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, len(CLASS_EDGES) - 1), np.int64))
    """Histograms of the star-galaxy class: of galaxies, of stars."""
    zero_points: list[tuple[int, float]] = field(default_factory=list)
    """(fid, median error) of each image with enough stars."""
    limits: list[float] = field(default_factory=list)
    """S/N that sources at the limiting magnitude have, of each image."""
    stars: list[Columns] = field(default_factory=list)

    def add(self, truth: Columns, found: Columns, match: Match, channel: Channel) -> None:
        """Take in one image.

        Parameters
        ----------
        truth, found : Columns
            As matched; truth with object_id, ra, dec, is_star, is_galaxy, found with all columns read.
        match : Match
        channel : Channel
        """
        star = truth["is_star"] & match.fit
        seen = match.partner >= 0
        self._count(truth["mag"] - channel.maglimit, star, seen, match.snr)
        self._claim(found, match, channel)
        rows = np.flatnonzero(seen)
        clean = rows[match.judged[match.partner[rows]] & match.fit[rows]]
        self._classify(truth, found, match, clean)
        self._test_limit(found, match, channel)
        keep = clean[truth["is_star"][clean] & (match.snr[clean] > LEAST_SNR)]
        self._keep(truth, found, match, channel, keep)

    def table(self) -> Columns:
        """Return all stars kept, as columns."""
        if not self.stars:
            return {name: np.zeros(0) for name in STAR_COLUMNS}
        return {name: np.concatenate([part[name] for part in self.stars]) for name in self.stars[0]}

    def _count(
        self, depth: NDArray[np.float64], star: Truths, seen: Truths, snr: NDArray[np.float64]
    ) -> None:
        self.true += np.histogram(depth[star], MAG_EDGES)[0]
        self.found += np.histogram(depth[star & seen], MAG_EDGES)[0]
        self.near_limit[0] += np.histogram(snr[star], SNR_EDGES)[0]
        self.near_limit[1] += np.histogram(snr[star & seen], SNR_EDGES)[0]
        sure = star & (snr > COUNTED_SNR)
        self.counted[:2] += np.array([sure.sum(), (sure & seen).sum()])

    def _claim(self, found: Columns, match: Match, channel: Channel) -> None:
        depth = found["mag"] - channel.maglimit
        self.claimed += np.histogram(depth[match.judged], MAG_EDGES)[0]
        self.real += np.histogram(depth[match.judged & match.is_real], MAG_EDGES)[0]
        sure = match.judged & (found["snr"] > COUNTED_SNR)
        self.counted[2:] += np.array([sure.sum(), (sure & match.is_real).sum()])

    def _classify(self, truth: Columns, found: Columns, match: Match, clean: Integers) -> None:
        classes = found["class_star"][match.partner[clean]]
        known = (match.snr[clean] > CLASSED_SNR) & np.isfinite(classes)
        for n, kind in enumerate(("is_galaxy", "is_star")):
            self.classes[n] += np.histogram(classes[known & truth[kind][clean]], CLASS_EDGES)[0]

    def _test_limit(self, found: Columns, match: Match, channel: Channel) -> None:
        depth = found["mag"] - channel.maglimit
        inside = match.judged & match.is_real & (depth > LIMIT_RANGE_MAG[0]) & (depth < LIMIT_RANGE_MAG[1])
        if inside.sum() >= LEAST_STARS:
            expected = channel.expected_snr(found["flux"][inside].astype(np.float64))
            self.limits.append(5.0 * float(np.median(found["snr"][inside] / expected)))

    def _keep(self, truth: Columns, found: Columns, match: Match, channel: Channel, rows: Integers) -> None:
        """Compare the stars of one image with the truth; at most `MOST_STARS`, chosen by their number."""
        if len(rows) > MOST_STARS:
            mixed = truth["object_id"][rows].astype(np.uint64) * _MIX
            rows = rows[np.argpartition(mixed, MOST_STARS)[:MOST_STARS]]
        partner = match.partner[rows]
        mag = found["mag"][partner] + channel.clrcoeff * truth["colour"][rows]
        residual = (mag - truth["mag"][rows]).astype(np.float64)
        steady = residual[match.snr[rows] > CLASSED_SNR]
        error = float(np.median(steady)) if len(steady) >= LEAST_STARS else 0.0
        if len(steady) >= LEAST_STARS:
            self.zero_points.append((channel.fid, error))
        flux, sigma = found["flux"][partner], found["sigflux"][partner]
        # The zero point's error is scored by itself: here it is taken away.
        expected = flux * 10 ** (0.4 * (residual - error))
        east, north = _offsets(truth, found, rows, partner)
        values = {
            "object_id": truth["object_id"][rows],
            "expid": np.full(len(rows), channel.expid),
            "fid": np.full(len(rows), channel.fid),
            "mag": truth["mag"][rows],
            "snr": match.snr[rows],
            "residual": residual,
            "zero_point": np.full(len(rows), error),
            "flux_pull": (flux - expected) / sigma,
            "east": east,
            "north": north,
            "sigpos": found["sigpos"][partner] * 1000.0,
        }
        whole = ("object_id", "expid", "fid")
        self.stars.append({n: v if n in whole else v.astype(np.float32) for n, v in values.items()})


STAR_COLUMNS = (
    *("object_id", "expid", "fid", "mag", "snr", "residual"),
    *("zero_point", "flux_pull", "east", "north", "sigpos"),
)
"""Of the stars kept: places in mas, magnitudes, pulls in sigma."""


def position_pulls(stars: Columns) -> NDArray[np.float64]:
    """Return position errors of both axes over their sigmas, without the median of each axis."""
    parts = [(stars[a] - np.median(stars[a])) / stars["sigpos"] for a in ("east", "north") if len(stars[a])]
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def bright_against_faint(stars: Columns) -> float:
    """Return the median error of bright stars minus that of fainter ones, mag; NaN without either."""
    rest = stars["residual"] - stars["zero_point"]
    bright = stars["snr"] > BRIGHT_SNR
    faint = (stars["snr"] > CLASSED_SNR) & (stars["snr"] < BRIGHT_SNR / 2)
    if min(bright.sum(), faint.sum()) < LEAST_STARS:
        return float("nan")
    return float(np.median(rest[bright]) - np.median(rest[faint]))


def pull_width(pulls: NDArray[np.float64]) -> float:
    """Return the width of pulls; NaN of fewer than `LEAST_STARS`."""
    return width(pulls) if len(pulls) >= LEAST_STARS else float("nan")


def _offsets(
    truth: Columns, found: Columns, rows: Integers, partner: Integers
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return found minus true places along east and north, mas."""
    dec = truth["dec"][rows]
    turn = (found["ra"][partner] - truth["ra"][rows] + 180.0) % 360.0 - 180.0
    return turn * np.cos(np.radians(dec)) * MAS, (found["dec"][partner] - dec) * MAS
