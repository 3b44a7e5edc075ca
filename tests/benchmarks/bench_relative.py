"""How fast and how well images of a unit, and of a survey, come to one scale; beside scipy's sparse solvers.

    python tests/benchmarks/bench_relative.py [first seed] [large]

Planted units and surveys (tests/science/relative_builders.py), seeds not used in development. Processor
seconds of one thread, best of three after a warm-up. The peers get the same weighted equations ready-made:

    lsqr, lsmr   scipy.sparse.linalg on the matrix of images and stars; without outliers, without terms
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsmr, lsqr

sys.path.insert(0, str(Path(__file__).parents[1] / "science"))

from relative_builders import make_survey, make_unit, uniformity

from zsds_tasks.science.relative.config import ErrorModelConfig, RelativeConfig, SurveyConfig
from zsds_tasks.science.relative.error_model import fit_error_model
from zsds_tasks.science.relative.refine import refine_unit
from zsds_tasks.science.relative.scatter import good_epochs, repeatability, seed_scatter
from zsds_tasks.science.relative.survey import SurveyImages, calibrate_survey, sample_errors

CONFIG, ERRORS, SURVEY = RelativeConfig(), ErrorModelConfig(), SurveyConfig()
UNUSABLE = CONFIG.ensemble.unusable_flags
MMAG = 1e3
UNITS = {
    "ordinary": {},
    "zero points off by 0.3 mag": {"zero_sigma": 0.3},
    "40 % variables": {"variables": 0.4},
    "10 % of epochs wrong": {"outliers": 0.1},
    "70 % of images under smooth clouds": {"gradients": 0.7},
    "20 % under structured clouds": {"clouds": 0.2},
    "saturated over 15 mag": {"saturated": 15.0},
    "few stars (300)": {"stars": 300},
    "4 images": {"images": 4},
}
PATTERNS = {
    "no overlap": {"step": 1.0},
    "5 % at the edges": {"step": 0.95},
    "5 % and dithers of 0.1 field": {"step": 0.95, "dither": 0.1},
    "a second grid, half a field away": {"second_grid": True, "visits": 2},
    "both": {"second_grid": True, "visits": 2, "dither": 0.1},
}


def seconds(work: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """Return the best processor time and the last result."""
    best = np.inf
    for _ in range(times):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def speed(seed: int) -> None:
    """Print epochs per second on a unit of a million epochs, and the peers' on its bright stars."""
    epochs, truth = make_unit(seed, stars=8000, images=160)
    refine_unit(epochs, CONFIG)
    spent, found = seconds(lambda: refine_unit(epochs, CONFIG))
    usable = epochs.usable(UNUSABLE)
    stable = found.stars.stable[epochs.seed] & usable
    print(f"\nunit of {len(epochs):,} epochs, {epochs.n_images} images, {np.sum(stable):,} of stable stars")
    rate = len(epochs) / spent / 1e6
    print(f"refine_unit   {spent:6.3f} core-s = {rate:.1f} M epochs/s, {found.sweeps} sweeps")
    use = good_epochs(epochs, found.images, UNUSABLE)
    spent, mag = seconds(lambda: found.images.applied(epochs))
    print(f"apply         {spent:6.3f}")
    spent, scatter = seconds(lambda: seed_scatter(epochs, mag, use))
    print(f"seed_scatter  {spent:6.3f}")
    spent, _ = seconds(lambda: fit_error_model(scatter, ERRORS))
    print(f"error model   {spent:6.3f}")
    good = ~found.images.bad
    print(f"error of offsets {_width((found.images.offset + truth.zero)[good]):.2f} mmag")
    for title, rows in (("stable stars, which ours found", stable), ("all usable epochs", usable)):
        stars = np.unique(epochs.seed[rows], return_inverse=True)[1]
        weight = 1.0 / np.hypot(epochs.magerr[rows], CONFIG.ensemble.floor_mag)
        equations = (stars, epochs.image[rows], epochs.mag[rows], weight, epochs.n_images)
        matrix, target, norm = _equations(*equations)
        for name, peer in (("lsqr", lsqr), ("lsmr", lsmr)):
            spent, answer = seconds(partial(peer, matrix, target, atol=1e-9, btol=1e-9), 1)
            off = answer[0][: epochs.n_images] / norm[: epochs.n_images] - truth.zero
            print(f"scipy {name}    {spent:6.3f} core-s, {title}: {_width(off[good]):.2f} mmag")


def _width(off: np.ndarray) -> float:
    return MMAG * float(np.std(off))


def _equations(star, image, mag, weight, n_images, prior=0.0):
    """Return weighted equations with columns of norm 1, which is a peer's preconditioner."""
    n, n_stars = len(star), int(star.max()) + 1
    rows = np.tile(np.arange(n), 2)
    matrix = sparse.csr_matrix(
        (np.tile(weight, 2), (rows, np.concatenate([image, n_images + star]))), shape=(n, n_images + n_stars)
    )
    if prior:
        tie = sparse.identity(n_images) * prior
        tie.resize((n_images, n_images + n_stars))
        matrix = sparse.vstack([matrix, tie]).tocsr()
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(0)).ravel())
    norm[norm == 0] = 1.0
    target = np.concatenate([weight * mag, np.zeros(matrix.shape[0] - n)])
    return matrix @ sparse.diags(1.0 / norm), target, norm


def quality(seed: int) -> None:
    """Print errors of offsets, pulls, flags and the scatter of bright stars for each kind of unit."""
    print("\nunit | error mmag | pull | bad images right / wrong / missed | terms likewise | variables kept")
    for name, changes in UNITS.items():
        off, claimed, counts, kept = [], [], np.zeros(6, int), []
        for draw in range(6):
            epochs, truth = make_unit(seed + draw, **({"stars": 3000, "images": 40} | changes))
            found = refine_unit(epochs, CONFIG)
            images, good = found.images, ~found.images.bad
            error = (images.offset + truth.zero)[good]
            off.append(error - error.mean())
            claimed.append(images.error[good])
            term, smooth = images.order > 0, truth.cloudy & ~truth.structured
            pairs = ((images.bad, truth.structured), (term & ~truth.structured, smooth))
            counts += [np.count_nonzero(x) for a, b in pairs for x in (a & b, a & ~b, ~a & b)]
            kept.append(np.mean(truth.variable[found.stars.stable]))
        off, claimed = np.concatenate(off), np.concatenate(claimed)
        bad, terms = (" / ".join(map(str, part)) for part in (counts[:3], counts[3:]))
        share = 100 * np.mean(kept)
        print(f"{name} | {_width(off):.2f} | {np.std(off / claimed):.2f} | {bad} | {terms} | {share:.1f} %")


def errors(seed: int) -> None:
    """Print repeatability before and after, and pulls of stars that do not vary, by magnitude."""
    epochs, truth = make_unit(seed, stars=12000, images=60, faint=21.4, limit=21.4, zero_sigma=0.02)
    images = refine_unit(epochs, CONFIG).images
    use, mag = good_epochs(epochs, images, UNUSABLE), images.applied(epochs)
    before, after = (seed_scatter(epochs, values, use) for values in (epochs.mag, mag))
    model, steady = fit_error_model(after, ERRORS)
    print(f"\nsigma(m) = {model.a:.5f} + {model.b:.3e} m + {model.c:.3e} 10^0.4m + {model.d:.3e} 10^0.8m")
    print(f"{np.count_nonzero(steady)} steady stars; slope over 20.5: {model.slope:.3f}")
    table = repeatability(before, after, np.arange(13.5, 21.6, 1.0))
    pull = (mag - after.mag[epochs.seed]) / model.sigma(after.mag[epochs.seed])
    n = after.n[epochs.seed]
    keep = use & ~truth.off & ~truth.variable[epochs.seed] & (n > 1)
    pull *= np.sqrt(n / np.maximum(n - 1, 1))
    print("mag | stars | before | after, mmag | sigma(m) | pull")
    for k, low in enumerate(table.edges[:-1]):
        inside = keep & (np.abs(truth.mag[epochs.seed] - low - 0.5) < 0.5)
        width = np.sqrt(np.mean(pull[inside] ** 2))
        row = (table.n[k], MMAG * table.before[k, 1], MMAG * table.after[k, 1], MMAG * model.sigma(low + 0.5))
        print(
            f"{low:.1f}-{low + 1:.1f} | {row[0]} | {row[1]:.1f} | {row[2]:.1f} | {row[3]:.1f} | {width:.3f}"
        )


def survey(seed: int) -> None:
    """Print the uniformity of surveys of different overlap, before and after."""
    print("\noverlap | components | images before / after | fields before / after, mmag | pull of the errors")
    for name, changes in PATTERNS.items():
        rows, pulls, parts = [], [], 0
        for draw in range(6):
            observations, truth = make_survey(seed + draw, fields=6, field_sigma=0.02, **changes)
            images = SurveyImages(zone=truth.field)
            found = calibrate_survey(observations, images, SURVEY)
            rows.append(uniformity(found, truth))
            parts += found.component.max() + 1
            claimed = sample_errors(observations, images, SURVEY, np.random.default_rng(seed), draws=24)
            pulls.append((found.offset + truth.zero) / claimed)
        a, b, c, d = MMAG * np.mean(rows, axis=0)
        width = np.sqrt(np.mean(np.concatenate(pulls) ** 2))
        print(f"{name} | {parts / 6:.0f} | {a:.1f} / {c:.1f} | {b:.1f} / {d:.1f} | {width:.2f}")


def scale(seed: int) -> None:
    """Print how time grows with the survey, beside lsmr on one round of the same equations."""
    print("\nobservations | images | core-s | iterations, 3 rounds | lsmr, 1 round | peak GB | fields mmag")
    sizes = ((12, 20, 1500),) if "large" in sys.argv else ((4, 4, 300), (8, 8, 300), (12, 16, 300))
    for fields, visits, density in sizes:
        layout = {"fields": fields, "visits": visits, "density": density, "quadrants": 4, "dither": 0.05}
        layout["second_grid"] = True
        observations, truth = make_survey(seed, **layout)
        spent, found = seconds(partial(calibrate_survey, observations, SurveyImages(), SURVEY), 1)
        weight = 1.0 / np.hypot(observations.error, SURVEY.floor_mag)
        star = np.unique(observations.star, return_inverse=True)[1]
        equations = (star, observations.image, observations.mag, weight, observations.n_images)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        matrix, target, _ = _equations(*equations, prior=1.0 / SURVEY.image_sigma_mag)
        peer, _ = seconds(partial(lsmr, matrix, target, atol=1e-9, btol=1e-9), 1)
        off, n = MMAG * uniformity(found, truth)[3], len(observations.star)
        times = f"{spent:.2f} | {found.iterations} | {peer:.2f}"
        print(f"{n:,} | {observations.n_images:,} | {times} | {peak:.2f} | {off:.2f}")


if __name__ == "__main__":
    FIRST = int(sys.argv[1]) if len(sys.argv) > 1 else 990_000
    for part in (scale,) if "large" in sys.argv else (speed, quality, errors, survey, scale):
        part(FIRST)
