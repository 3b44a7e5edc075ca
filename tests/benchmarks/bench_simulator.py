"""How fast raw frames are simulated: core-seconds per megapixel, stage by stage.

    python tests/benchmarks/bench_simulator.py [camera ...]

One process, one thread, after one frame of warming up (compiled kernels, tiles of the sky, the CCD).
The bound is 3 core-seconds per megapixel.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from zsds_tasks.settings import load_settings
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.drawing import draw_light
from zsds_tasks.simulator.production import FileTask, Recipe, make_file, set_stage
from zsds_tasks.survey.nights import ObservingNight

BOUND = 3.0
REPEATS = 5
KINDS = {"b": "bias", "f": "flat", "o": "science"}


def core_seconds(work: Callable[[], Any]) -> float:
    """Median processor time of a few calls, the first one left out."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return median(times[1:])


def measure(camera: str, spool: Path) -> None:
    """Print a table for one camera."""
    recipe = Recipe(load_settings().include, camera, 1, ObservingNight.parse("20251012"), exposures=6)
    began = time.process_time()
    stage = set_stage(recipe)
    print(f"\n{camera}: night planned in {time.process_time() - began:.2f} core-s")
    print("| frame | sources | scene | light | whole frame | file | file s/Mpx | MB |")
    print("|---|---|---|---|---|---|---|---|")
    for code, name in KINDS.items():
        number = next(i for i, e in enumerate(stage.night.exposures) if e.imgtypecode == code)
        exposure = stage.night.exposures[number]
        scene = stage.night.scene(exposure, 1)
        made = make_file(recipe, spool, FileTask(number, 1))
        times = [
            core_seconds(lambda e=exposure: stage.night.scene(e, 1)),
            core_seconds(lambda s=scene: draw_light(stage.instrument, s, 1)),
            core_seconds(lambda s=scene: expose_ccd(stage.instrument, s, 1)),
            core_seconds(lambda n=number: make_file(recipe, spool, FileTask(n, 1))),
        ]
        rate = times[-1] / made.megapixels
        cells = " | ".join(f"{t:.3f}" for t in times)
        verdict = "" if rate < BOUND else " OVER THE BOUND"
        print(
            f"| {name} | {len(scene.sources)} | {cells} | {rate:.3f}{verdict} | {made.file.size / 1e6:.1f} |"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def main() -> None:
    """Measure the cameras named, or the small one."""
    with tempfile.TemporaryDirectory() as folder:
        for camera in sys.argv[1:] or ["mini"]:
            measure(camera, Path(folder))


if __name__ == "__main__":
    main()
