"""What tasks of the DAGs and functions that run on Ray import: processor seconds in a fresh process.

    python tests/benchmarks/bench_imports.py            # all; --repeat 3 takes the least of three

Of a task those imports are counted that its function names, and as `idle` those before it finds that there
is nothing to do, where it asks first. `cold` begins with a bare Python, as a Ray worker or the command line
does; `forked` with what the scheduler's workers hold already (`zsds_tasks.operations.preload`), as a task of
the laptop stack does. `kernels` says how many compiled kernels were loaded on the way.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from dag_imports import imports_of_tasks  # noqa: E402 - the path comes first

from zsds_tasks.operations.preload import LIBRARIES  # noqa: E402 - the path comes first
from zsds_tasks.settings import REPOSITORY  # noqa: E402 - the path comes first

ON_RAY = {
    "inspect (raw)": "from zsds_tasks.steps.inspection import inspect",
    "measure_file (quality)": "from zsds_tasks.steps.quality import measure_file",
    "make_channel (masters)": "from zsds_tasks.steps.calibration.channel import make_channel",
    "process_quadrant": "from zsds_tasks.steps.exposure.quadrant import process_quadrant",
    "subtract_one": "from zsds_tasks.steps.difference.build import subtract_one",
    "build_one (references)": "from zsds_tasks.steps.references.build import build_one",
    "make_unit (light curves)": "from zsds_tasks.steps.lightcurves.run import make_unit",
    "update_objects": "from zsds_tasks.steps.objects import run",
}
MEASURE = """
import importlib, json, sys, time
names, statements = json.loads(sys.argv[1])
for name in names:
    importlib.import_module(name)
before, began, started = set(sys.modules), time.process_time(), time.perf_counter()
for statement in statements:
    exec(statement)
spent, waited = time.process_time() - began, time.perf_counter() - started
kernels = 0
if "numba" in sys.modules:
    from numba.core.dispatcher import Dispatcher
    import gc
    kernels = sum(len(found.overloads) for found in gc.get_objects() if isinstance(found, Dispatcher))
print(json.dumps([spent, waited, len(set(sys.modules) - before), kernels]))
"""


def measure(statements: list[str], first: tuple[str, ...], repeat: int) -> tuple[float, float, int, int]:
    """Return processor seconds, seconds, modules and kernels of statements after `first`; the least run."""
    command = [sys.executable, "-c", MEASURE, json.dumps([first, statements])]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY).stdout)
        for _ in range(repeat)
    ]
    return tuple(min(runs))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", default="", help="names that contain this")
    options = parser.parse_args()
    work, idle = imports_of_tasks(), imports_of_tasks(idle=True)
    work |= {f"{name}, idle": idle[name] for name in work if idle[name] != work[name]}
    work = dict(sorted(work.items())) | {f"Ray: {name}": [line] for name, line in ON_RAY.items()}
    say(f"{'':38s}  cold CPU s  forked CPU s  modules  kernels")
    sums = [0.0, 0.0]
    for name, statements in work.items():
        if options.only not in name:
            continue
        cold, forked = (measure(statements, first, options.repeat) for first in ((), LIBRARIES))
        sums = [total + one[0] for total, one in zip(sums, (cold, forked), strict=True)]
        say(f"{name:38s}{cold[0]:12.2f}{forked[0]:14.2f}{cold[2]:9d}{cold[3]:9d}")
    say(f"{'sum':38s}{sums[0]:12.2f}{sums[1]:14.2f}")


if __name__ == "__main__":
    main()
