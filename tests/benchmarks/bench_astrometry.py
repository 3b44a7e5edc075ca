"""How fast and how exactly the astrometry of a quadrant is solved, beside what a user would pick instead.

    python tests/benchmarks/bench_astrometry.py [seed ...]

Simulated quadrants of 3072 x 3080 pixels with known truth (astrometry_builders.py). Ours: search, match and
fit. astropy: `fit_wcs_from_points` on the pairs that ours found, so it gets search and clipping for nothing.
Processor seconds, one thread: ours the median of five calls after a warm-up, astropy one call. Errors against
the truth over the whole image.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points

sys.path.insert(0, str(Path(__file__).parents[1] / "science"))

from astrometry_builders import MJD, Case, Sky, make_case

from zsds_tasks.science.astrometry import AstrometricSolution, solve
from zsds_tasks.sky.tangent import separation_deg

REPEATS = 5
SEEDS = (9101, 9102, 9103)
FIELDS = {
    "20 stars": {"sky": Sky(n_stars=22, faintest=18.0)},
    "sparse": {"sky": Sky(n_stars=300, faintest=19.0)},
    "ordinary": {"sky": Sky(n_stars=9000)},
    "crowded": {"sky": Sky(n_stars=45_000, faintest=21.5)},
    "half false, half missing": {"false_fraction": 0.5, "catalog_fraction": 0.5},
    "pointing 7 arcmin, turned 1 deg": {"pointing_error_arcsec": (350.0, -280.0), "rotation_error_deg": 1.0},
}


def core_seconds(work: Callable[[], object]) -> float:
    """Median processor time of a few calls, the first one left out."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return median(times[1:])


def row(
    field: str, tool: str, seconds: float, case: Case, sky: Callable[..., tuple], n_matched: int | str
) -> None:
    """Print one line of the table."""
    x, y, ra, dec = case.truth()
    errors = separation_deg(*sky(x, y), ra, dec) * 3.6e6
    print(
        f"| {field} | {len(case.sources)} | {tool} | {seconds:.3f} | {n_matched} "
        f"| {np.median(errors):.1f} | {errors.max():.1f} |",
        flush=True,
    )


def astropy_fit(case: Case, solution: AstrometricSolution) -> WCS:
    """Fit the same pairs with astropy: TAN-SIP of the same degree."""
    ra, dec = case.stars.at(MJD)
    pairs = solution.pairs
    return fit_wcs_from_points(
        (case.sources.x[pairs.source] - 1, case.sources.y[pairs.source] - 1),  # it counts pixels from 0
        SkyCoord(ra[pairs.star] * u.deg, dec[pairs.star] * u.deg),
        projection="TAN",
        sip_degree=max(solution.degree, 2),
    )


def measure(field: str, seed: int) -> None:
    """Print the lines of one field."""
    case = make_case(seed, **FIELDS[field])
    solution = solve(case.sources, case.stars, case.view)
    seconds = core_seconds(lambda: solve(case.sources, case.stars, case.view))
    row(field, f"ours ({solution.rung})", seconds, case, solution.wcs.pixel_to_sky, solution.n_matched)
    began = time.process_time()
    fitted = astropy_fit(case, solution)
    seconds = time.process_time() - began
    row(
        field,
        "astropy fit of our pairs",
        seconds,
        case,
        lambda x, y: tuple(fitted.all_pix2world(x, y, 1)),
        "-",
    )


def main() -> None:
    """Measure every field with the seeds named, or with ours."""
    warnings.simplefilter("ignore")
    seeds = [int(word) for word in sys.argv[1:]] or SEEDS
    print("| field | sources | tool | core-s | matched | median error, mas | largest error, mas |")
    print("|---|---|---|---|---|---|---|")
    for field in FIELDS:
        for seed in seeds:
            measure(field, seed)


if __name__ == "__main__":
    main()
