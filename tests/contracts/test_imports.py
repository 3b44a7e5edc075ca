"""What tasks import, without a stopwatch: a task that does little must not wait for packages that do much."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from dag_imports import imports_of_tasks

from zsds_tasks.settings import REPOSITORY

# In no task before it works: who needs them imports them where they are needed.
NEVER = {"cdshealpix", "duckdb", "great_expectations", "hats", "lsdb", "matplotlib", "polars", "ray", "s3fs"}
PIXELS = {"astropy", "numba", "onnxruntime", "zsds_tasks.pixels"}
NUMBERS = {"deltalake", "numpy", "pandas", "pyarrow", "scipy", "zsds_tasks.science"}
# What else a task must not import, of those that work with no pixels. One after the other in one process, so
# that each may import what those before it do: the lightest first.
LIGHT = {
    "ingest: ingest_raw": NEVER | PIXELS | NUMBERS,  # when the folder is empty, as it mostly is
    "night: send_alerts": NEVER | PIXELS | NUMBERS,
    "exposure: send_alerts": NEVER | PIXELS | NUMBERS,
    "maintenance: maintain": NEVER | PIXELS | {"scipy", "zsds_tasks.science"},
    "references: build_references": NEVER | PIXELS | {"scipy", "zsds_tasks.science"},  # these: when there is
    "references: subtract_references": NEVER | PIXELS | {"scipy", "zsds_tasks.science"},  # no image at all
    "references: make_alerts": NEVER | PIXELS | {"scipy", "zsds_tasks.science"},
    "catalogs: update_catalogs": NEVER | PIXELS | {"scipy", "zsds_tasks.science"},
    "night: publish_catalogs": NEVER | PIXELS,
    "night: gather_alert_curves": NEVER | PIXELS,
    "night: check_tables": NEVER | PIXELS,
}
HEAVY = ("exposure: process", "night: update_objects")  # together they import nearly all that computes
RUN = """
import json, sys
found = {}
for name, statements in json.loads(sys.argv[1]).items():
    for statement in statements:
        exec(statement)
    found[name] = sorted(sys.modules)
kernels = {}
if "numba" in sys.modules:
    import gc
    from numba.core.dispatcher import Dispatcher
    made = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    kernels = {one.py_func.__module__ + "." + one.__name__: len(one.overloads) for one in made}
print(json.dumps([found, kernels]))
"""


def imported(tasks: dict[str, list[str]]) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Return what is imported after each task's statements, and how often each kernel was loaded."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(tasks)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found, kernels = json.loads(done.stdout.splitlines()[-1])
    return {name: set(modules) for name, modules in found.items()}, kernels


@pytest.mark.timeout(150)
def test_tasks_import_little_before_they_work_and_none_loads_a_kernel():
    idle, whole = imports_of_tasks(idle=True), imports_of_tasks()
    found, kernels = imported({name: idle[name] for name in LIGHT} | {name: whole[name] for name in HEAVY})
    for name, forbidden in (LIGHT | dict.fromkeys(HEAVY, NEVER)).items():
        assert not found[name] & forbidden, f"{name} imports {found[name] & forbidden}"
    assert len(kernels) > 150
    loaded = {name for name, times in kernels.items() if times and name.startswith("zsds_tasks.")}
    assert not loaded, "declare them by zsds_tasks.pixels.kernels.compiled"


def test_a_heavy_import_would_be_seen():
    found, _ = imported({"heavy": ["import pyarrow"]})
    assert "pyarrow" in found["heavy"] & NUMBERS
