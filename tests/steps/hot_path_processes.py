"""Process an exposure and make its alerts in processes of their own, and kill some; for test_hot_path.py.

    python hot_path_processes.py <pickle>

The pickle holds what `Given` says. Everything heavy is imported and warmed up once; each run is a forked
child, which is safe as long as this process never uses deltalake itself. The first child is left alone and
writes down what it wrote (``steps.json``); of the others each is killed just before one of these writes, and
its installation is then worked on again. Prints how each child ended: its exit code, or minus the signal.
"""

import json
import os
import pickle
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import pyarrow as pa  # noqa: E402 - the path comes first

from zsds_tasks.lakehouse import delta, open_lakehouse  # noqa: E402
from zsds_tasks.products.packets import VERSION, load_packet_schema  # noqa: E402
from zsds_tasks.products.tables import arrow_schema, load_table  # noqa: E402
from zsds_tasks.settings import Settings  # noqa: E402
from zsds_tasks.steps.alerts.run import make_alerts  # noqa: E402
from zsds_tasks.steps.difference import load_differencing_config, reference_cache  # noqa: E402
from zsds_tasks.steps.exposure import load_exposure_config, process_exposures  # noqa: E402
from zsds_tasks.steps.exposure.quadrant import HotPathConfigs, process_quadrant  # noqa: E402
from zsds_tasks.steps.exposure.work import QuadrantWork  # noqa: E402

AT_ONCE = 2


@dataclass(frozen=True)
class Given:
    """What to do.

    Parameters
    ----------
    settings : Settings
        Of a copy that may be spoilt by warming up; those of the runs differ in `var`.
    work : QuadrantWork
        With its reference, for warming up.
    reference_sources : pa.Table
    expid : int
    now : datetime.datetime
    undisturbed : str
        Folder of the installation that is left alone.
    killed : dict
        Folder by the write at which it is killed.
    """

    settings: Settings
    work: QuadrantWork
    reference_sources: pa.Table
    expid: int
    now: object
    undisturbed: str
    killed: dict[str, str]


class Writes:
    """Everything that is written, in order; the process dies just before the one it is told."""

    def __init__(self, kill_at):
        self.kill_at, self.names, self.lock = kill_at, [], threading.Lock()

    def before(self, name):
        with self.lock:
            self.names.append(name)
            if len(self.names) == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self):
        """Put a step before each flush of a file or folder, and around each commit."""
        original = {"fsync": os.fsync, "write": delta.write_file, "commit": delta.commit}

        def fsync(descriptor):
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.before(f"in place in {path.name}" if path.is_dir() else f"written {kind_of(path)}")
            original["fsync"](descriptor)

        def write_file(location, *arguments, **options):
            self.before(f"rows of {location.declaration.table}")
            return original["write"](location, *arguments, **options)

        def commit(table, declaration, *arguments, **options):
            self.before(f"commit of {declaration.table}")
            return original["commit"](table, declaration, *arguments, **options)

        os.fsync, delta.write_file, delta.commit = fsync, write_file, commit


def kind_of(path):
    """Return what tells kinds of files apart: the end of the name of one that is being written."""
    name = path.name
    if name.endswith(".tar.part"):
        return "packets"
    if name.endswith(".part-tmp"):
        name = name.removesuffix(".part-tmp").rpartition(".")[0].rpartition("_")[2]
    return "log" if name.startswith("0000") else name.rpartition("-")[2] if "part-" in name else name


def run(given, var, kill_at):
    writes = Writes(kill_at)
    writes.watch()
    settings = given.settings.model_copy(update={"var": Path(var)})
    lakehouse = open_lakehouse(settings)
    done = process_exposures(lakehouse, settings, given.now, expids=[given.expid])
    alerts = make_alerts(lakehouse, settings, expids=[given.expid])
    problems = [*done.failed, *done.not_compared, *alerts.failed]
    (Path(var) / "steps.json").write_text(json.dumps({"steps": writes.names, "problems": problems}))


def start(given, var, kill_at):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(given, var, kill_at)
            code = 0
        finally:
            os._exit(code)
    return child


def warm_up(given):
    """Load every kernel and declaration by processing a channel, without a table."""
    frames = reference_cache.open_reference
    settings, include = given.settings, given.settings.include
    for path in (include / "schemas" / "tables").glob("*.yaml"):
        load_table(path.stem, include)
        arrow_schema(load_table(path.stem))
    load_packet_schema(VERSION, include)
    configs = HotPathConfigs(load_exposure_config(include), load_differencing_config(include))

    def reference(_cache, lakehouse, row, _most_mb):
        return frames(lakehouse, row), given.reference_sources

    with mock.patch.object(reference_cache.ReferenceCache, "of", reference):
        outcome = process_quadrant(given.work, settings, configs, open_lakehouse(settings))
    assert outcome.difference.row["status"] == 1, outcome.difference.row["reason"]


def carry_out(given, runs):
    """Run some, two at once; say how each ended."""
    for first in range(0, len(runs), AT_ONCE):
        children = [start(given, *one) for one in runs[first : first + AT_ONCE]]
        for child in children:
            sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")


def main(path):
    given = pickle.loads(Path(path).read_bytes())  # noqa: S301 - our own
    warm_up(given)
    carry_out(given, [(given.undisturbed, 0)])
    steps = json.loads((Path(given.undisturbed) / "steps.json").read_text())["steps"]
    carry_out(given, [(var, steps.index(name) + 1) for name, var in given.killed.items()])
    carry_out(given, [(var, 0) for var in given.killed.values()])


if __name__ == "__main__":
    # So that what was pickled elsewhere is found here.
    sys.modules["hot_path_processes"] = sys.modules["__main__"]
    main(sys.argv[1])
