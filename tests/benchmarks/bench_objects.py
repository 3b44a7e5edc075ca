"""Objects at the level of tables, without images: quality against truth, cost, a night beside a rebuild.

Run it by hand: ``python tests/benchmarks/bench_objects.py [all | truth | survey | speed]``; processor time of
one process, Markdown tables.
"""

from __future__ import annotations

import itertools
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from object_rows import NIGHTS, Field, PlantedSky, Truth  # noqa: E402 - as above

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402
from zsds_tasks.science.matching.score import score_objects  # noqa: E402
from zsds_tasks.settings import Settings  # noqa: E402
from zsds_tasks.steps.objects import solve_survey, update_objects  # noqa: E402

SEEDS = (81, 82, 83)
STEP = 0.19  # between fields 0.2 degrees wide: 5 % overlap at each edge
FIELD_SIGMA = 0.02


def grid(side: int, rng: np.random.Generator | None = None) -> tuple[Field, ...]:
    """Return a square of overlapping fields, their zero points off by FIELD_SIGMA."""
    places = itertools.product(range(side), repeat=2)
    fields = []
    for number, (i, j) in enumerate(places):
        zero = {2: float(rng.normal(0, FIELD_SIGMA))} if rng else {}
        fields.append(
            Field(10 + number, STEP * (i - (side - 1) / 2), zero=zero, north=STEP * (j - (side - 1) / 2))
        )
    return tuple(fields)


def lake():
    """Return an empty lake and its settings."""
    settings = Settings(var=Path(tempfile.mkdtemp(prefix="bench-objects-")), camera="mini", workers=1)
    return open_lakehouse(settings), settings


def timed(work):
    """Return processor time and result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def say(*cells: object) -> None:
    sys.stdout.write("| " + " | ".join(map(str, cells)) + " |\n")
    sys.stdout.flush()


def truth() -> None:
    """Split, merged and missed stars, false and missed variables, periods."""
    say("seed", "stars", "split", "merged", "candidates: right", "false", "missed", "periods within 0.1 %")
    say(*["---"] * 8)
    for seed in SEEDS:
        plan = PlantedSky(fields=grid(2), stars=3000, variables=12, epochs=16, seed=seed, proper_motion=30.0)
        sky, (lakehouse, settings) = Truth(plan), lake()
        sky.deliver(lakehouse, NIGHTS)
        update_objects(lakehouse, settings)
        rows = lakehouse.table("objects").read().to_pylist()
        star_of = sky.star_of()
        pairs = [(star_of[k], row["objectid"]) for row in rows for k in row["members"]["objectid"]]
        score = score_objects(*np.array(pairs, np.int64).T)
        shown = {star for star, _ in pairs}
        found = {star_of[row["objectid"]]: row for row in rows if row["is_candidate"]}
        real = {star for star in range(plan.variables) if star in shown}
        right = [abs(found[k]["period"] / sky.period[k] - 1) < 1e-3 for k in real & found.keys()]
        say(seed, score.stars, score.split, score.merged, len(real & found.keys()), len(found.keys() - real),
            len(real - found.keys()), f"{sum(right)} of {len(right)}")  # fmt: skip


def survey() -> None:
    """Zero points of overlapping fields against truth, before and after."""
    say("seed", "fields", "RMS before, mmag", "after", "scatter of means before / after, mmag")
    say(*["---"] * 5)
    for seed in SEEDS:
        fields = grid(5, np.random.default_rng(seed))
        plan = PlantedSky(fields=fields, fids=(2,), stars=4000, variables=60, epochs=4, seed=seed)
        sky, (lakehouse, settings) = Truth(plan), lake()
        sky.deliver(lakehouse, NIGHTS)
        update_objects(lakehouse, settings)
        summary = solve_survey(lakehouse, settings)
        offset = {r["field"]: r["offset_mag"] for r in lakehouse.table("survey_offsets").read().to_pylist()}
        planted = np.array([f.zero[2] for f in fields])
        left = planted + np.array([offset[f.number] for f in fields])
        say(seed, len(fields), f"{1e3 * planted.std():.1f}", f"{1e3 * left.std():.1f}",
            f"{1e3 * summary.scatter_before:.1f} / {1e3 * summary.scatter_after:.1f}")  # fmt: skip


def speed() -> None:
    """A rebuild, one more night of one field, and nothing."""
    fields = (*grid(2), Field(20, 0.8))
    plan = PlantedSky(fields=fields, stars=20_000, variables=0, epochs=40, seed=91)
    sky, (lakehouse, settings) = Truth(plan), lake()
    sky.deliver(lakehouse, NIGHTS[:2])
    update_objects(lakehouse, settings)  # compiles
    rebuilt, settings_2 = lake()
    sky.deliver(rebuilt, NIGHTS[:2])
    say("what", "units", "light curves", "epochs", "pixels", "objects", "core-s", "epochs per core-s")
    say(*["---"] * 8)

    def row(what, lakehouse, settings):
        seconds, found = timed(lambda: update_objects(lakehouse, settings))
        epochs = found.curves * plan.epochs * (3 if "night" in what else 2)
        say(what, found.units, found.curves, epochs, found.pixels, found.objects, f"{seconds:.1f}",
            f"{epochs / seconds / 1e6:.2f} M")  # fmt: skip

    row("everything", rebuilt, settings_2)
    sky.units = {key: unit for key, unit in sky.units.items() if key[0] == 20}
    sky.deliver(rebuilt, NIGHTS)
    row("a night of one field", rebuilt, settings_2)
    row("nothing new", rebuilt, settings_2)
    say("peak memory, GB", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}")


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    for name, part in (("truth", truth), ("survey", survey), ("speed", speed)):
        if wanted in {"all", name}:
            part()
            sys.stdout.write("\n")
