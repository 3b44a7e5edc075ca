"""How fast and how exactly the zero point of a quadrant is found, beside what a user would pick instead.

    python tests/benchmarks/bench_photometric_calibration.py [first seed]

Fields with known zero point, colour term and spatial term (zeropoint_builders.py). All tools get the same
calibrators and fit the same model as far as they can:

    ours       priors, outliers as a second component, intrinsic scatter, spatial order by evidence
    clip       astropy sigma_clip on zero points less the mean colour term, then numpy lstsq, three rounds
    soft_l1    scipy.optimize.least_squares, loss soft_l1, 30 mmag scale, formal errors from its Jacobian

The others fit a plane besides, as a user who expects clouds would; ours decides. Errors are at the colour of
most stars (0.65 mag), RMS over the draws; `pull` is the width of the error of MAGZP over its formal error.
Processor seconds, one thread, mean of the draws. Then matching and choosing of 1,200 calibrators among 10,000
sources and 20,000 catalogue rows, beside astropy's `match_to_catalog_sky`, which only matches.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.stats import sigma_clip
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).parents[1] / "science"))

from zeropoint_builders import SHAPE, PlantedField, make_calibrators, make_tables

from zsds_tasks.science.photometry.calibrators import Calibrators, choose_calibrators
from zsds_tasks.science.photometry.spatial import SpatialTerm, cell_middles, spatial_design
from zsds_tasks.science.photometry.zeropoint import fit_zero_point
from zsds_tasks.science.photometry.zeropoint_config import ZeroPointConfig

DRAWS = 60
COLOUR = 0.65
CONFIG = ZeroPointConfig()
BAND = CONFIG.filters["r"]
FIELDS = {
    "30 stars": {"n": 30},
    "300 stars": {"n": 300},
    "1,500 stars": {"n": 1500},
    "300, 30 % outliers": {"n": 300, "outliers": 0.3},
    "300, 30 % blends, all bright": {"n": 300, "outliers": 0.3, "outlier_range": (-1.0, 0.0)},
    "300, cloud of 1 mag, 0.2 mag across": {"n": 300, "zero_point": 25.2, "gradient": (0.2, -0.1)},
    "300, bowl of 0.06 mag": {"n": 300, "bowl": 0.06},
}
Answer = tuple[float, float, float, SpatialTerm]
"""Zero point, its error, colour coefficient, spatial term."""


def ours(rows: Calibrators) -> Answer:
    """Return what this package finds."""
    found = fit_zero_point(rows, BAND, SHAPE, CONFIG)
    return found.magzp, found.magzpunc, found.clrcoeff, found.spatial


def _linear(rows: Calibrators) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    design = np.column_stack([np.ones(len(rows)), rows.colour, spatial_design(rows.x, rows.y, SHAPE, 1)])
    target = rows.mag + 2.5 * np.log10(rows.flux)
    return design, target, np.hypot(1.0857 * rows.flux_error / rows.flux, rows.mag_error)


def clip(rows: Calibrators) -> Answer:
    """Return what clipping and least squares find."""
    design, target, sigma = _linear(rows)
    residual = target - BAND.coefficient * rows.colour
    for _ in range(3):
        keep = ~np.ma.getmaskarray(sigma_clip(residual, sigma=3, maxiters=5))
        scaled = design[keep] / sigma[keep, None]
        solution = np.linalg.lstsq(scaled, target[keep] / sigma[keep], rcond=None)[0]
        residual = target - design @ solution
    covariance = np.linalg.inv(scaled.T @ scaled)
    return solution[0], covariance[0, 0] ** 0.5, solution[1], SpatialTerm(1, tuple(solution[2:]), SHAPE)


def soft_l1(rows: Calibrators) -> Answer:
    """Return what a robust loss finds."""
    design, target, sigma = _linear(rows)
    total = np.hypot(sigma, 0.03)
    start = np.array([np.median(target), 0.0, 0.0, 0.0])
    fit = least_squares(
        lambda p: (design @ p - target) / total, start, lambda _: design / total[:, None], loss="soft_l1"
    )
    covariance = np.linalg.inv(fit.jac.T @ fit.jac)
    return fit.x[0], covariance[0, 0] ** 0.5, fit.x[1], SpatialTerm(1, tuple(fit.x[2:]), SHAPE)


def measure(name: str, field: PlantedField, first: int) -> None:
    """Print the lines of one field."""
    drawn = [make_calibrators(first + k, field) for k in range(DRAWS)]
    x, y = cell_middles(SHAPE, 9)
    truth = field.term(x, y)
    for tool in (ours, clip, soft_l1):
        tool(drawn[0])
        began = time.process_time()
        answers = [tool(rows) for rows in drawn]
        seconds = (time.process_time() - began) / DRAWS
        at_middle = np.array([a[0] + a[2] * COLOUR for a in answers])
        at_middle -= field.zero_point + field.coefficient * COLOUR
        pull = np.array([(a[0] - field.zero_point) / a[1] for a in answers])
        spatial = [np.mean((a[3].at(x, y) - truth) ** 2) for a in answers]
        print(
            f"| {name} | {tool.__name__} | {1e3 * seconds:.1f} | {1e3 * _rms(at_middle):.1f} "
            f"| {1e3 * at_middle.mean():+.1f} | {_rms(pull):.2f} | {1e3 * np.mean(spatial) ** 0.5:.1f} |",
            flush=True,
        )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def core_ms(work: Callable[[], object]) -> float:
    """Median processor time of a few calls in milliseconds, the first one left out."""
    times = []
    for _ in range(8):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1e3 * median(times[1:])


def measure_matching(seed: int) -> None:
    """Print the lines of the matching."""
    sources, stars, _ = make_tables(seed, 10_000, 20_000, 1200)

    def astropy_match() -> object:
        return SkyCoord(sources.ra * u.deg, sources.dec * u.deg).match_to_catalog_sky(
            SkyCoord(stars.ra * u.deg, stars.dec * u.deg)
        )

    print("\n| matching | core-ms |\n|---|---|")
    chosen = core_ms(lambda: choose_calibrators(sources, stars, BAND, CONFIG.calibrators))
    print(f"| ours, with the choice of calibrators | {chosen:.0f} |")
    print(f"| astropy match_to_catalog_sky alone | {core_ms(astropy_match):.0f} |")


def main() -> None:
    """Measure every field from the seed named, or from ours."""
    first = int(sys.argv[1]) if len(sys.argv) > 1 else 770_000
    print("| field | tool | core-ms | RMS, mmag | mean, mmag | pull | spatial RMS error, mmag |")
    print("|---|---|---|---|---|---|---|")
    for name, changes in FIELDS.items():
        measure(name, PlantedField(**changes), first)
    measure_matching(first)


if __name__ == "__main__":
    main()
