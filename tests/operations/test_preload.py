"""What the scheduler's workers hold before a task is forked from them: libraries, and such as bear it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zsds_tasks.operations.installation import Installation
from zsds_tasks.operations.preload import LIBRARIES, OF_AIRFLOW
from zsds_tasks.settings import REPOSITORY

FORKED = """
import importlib, os, sys, tempfile

for name in sys.argv[1].split(","):
    importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith("zsds")]
assert not {"ray", "confluent_kafka", "onnxruntime", "polars", "duckdb"} & set(sys.modules)


def task():
    import deltalake, numpy as np, pyarrow as pa, pyarrow.dataset as ds
    from astropy.io import fits
    from scipy import ndimage
    from zsds_tasks.pixels.kernels import compiled

    with tempfile.TemporaryDirectory() as folder:
        deltalake.write_deltalake(folder + "/t", pa.table({"a": [1, 2, 3]}))
        read = deltalake.DeltaTable(folder + "/t").to_pyarrow_table().to_pandas()
        assert read.groupby("a").size().sum() == 3
        assert ds.dataset(folder + "/t").count_rows() == 3
        image = np.random.default_rng(1).normal(size=(200, 200))
        fits.writeto(folder + "/i.fits", image)
    assert np.isfinite(np.linalg.solve(image, ndimage.gaussian_filter(image, 2)) @ image).all()
    assert compiled("f8(f8)")(lambda value: 2 * value)(2.0) == 4.0


def forked(function):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


forked(lambda: forked(task))  # from the keeper a worker, from the worker a task
"""


@pytest.mark.timeout(120)
def test_what_is_held_bears_the_forks_from_the_keeper_to_the_task():
    done = subprocess.run(
        [sys.executable, "-c", FORKED, ",".join(LIBRARIES)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_scheduler_is_told(settings):
    installation = Installation(settings)
    installation.prepare()
    told = installation.environment(8080, "127.0.0.1:6379")
    assert told["AIRFLOW__SCHEDULER__MP_START_METHOD"] == "forkserver"
    assert set(told["AIRFLOW__SCHEDULER__MP_FORKSERVER_PRELOAD"].split(",")) == {*OF_AIRFLOW, *LIBRARIES}
