"""Run ingests in processes of their own and kill some of them; a script for test_raw_kill.py.

    python ingest_processes.py '<JSON list of orders>'

An order is {"folder": installation, "kill_at": step number or null, "kill_after_s": seconds or null,
"processes": how many at once}. Everything heavy is imported once; each ingest runs in a
forked child, which is safe as long as this process never uses deltalake itself. Prints one line per child:
its exit code, or minus the signal that ended it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from builders import NIGHT_START, NOW, FrameBuilder, tiny_rules  # noqa: E402 - the path comes first

from zsds_tasks.errors import NothingToDoError  # noqa: E402
from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402
from zsds_tasks.products.tables import arrow_schema, load_table  # noqa: E402
from zsds_tasks.science.raw import verify  # noqa: E402
from zsds_tasks.settings import Settings  # noqa: E402
from zsds_tasks.sky.healpix import index_of  # noqa: E402
from zsds_tasks.steps.incoming import IncomingConfig  # noqa: E402
from zsds_tasks.steps.raw import RawConfig, ingest  # noqa: E402

NOTHING_TO_DO = 3


def run(folder, kill_at):
    """Ingest once; die by SIGKILL at the step with this number."""
    steps = 0

    def listen(_what, _done, _total):
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    settings = Settings(var=Path(folder) / "var", include=Path(folder) / "include", camera="tiny", workers=1)
    config = RawConfig(incoming=IncomingConfig(settle_s=0.0), batch_files=3)
    try:
        ingest(open_lakehouse(settings), settings, NOW, progress=listen, config=config)
    except NothingToDoError:
        return NOTHING_TO_DO
    return 0


def start(order):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run(order["folder"], order.get("kill_at"))
        finally:
            os._exit(code)
    return child


def warm_up(include):
    """Load what every child would load again: declarations, kernels, libraries imported on first use."""
    name, data = FrameBuilder.of("tiny", include).build(NIGHT_START)
    verify(data, name, tiny_rules(include))
    index_of(np.array([1.0]), np.array([1.0]))
    for table in ("raw_quadrants", "raw_exposures", "quarantine"):
        arrow_schema(load_table(table, include))


def main(orders):
    warm_up(Path(orders[0]["folder"]) / "include")
    for order in orders:
        children = [start(order) for _ in range(order.get("processes", 1))]
        if order.get("kill_after_s") is not None:
            time.sleep(order["kill_after_s"])
            for child in children:
                os.kill(child, signal.SIGKILL)  # a child that has ended stays a zombie until waited for
        for child in children:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            sys.stdout.write(f"{code}\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
