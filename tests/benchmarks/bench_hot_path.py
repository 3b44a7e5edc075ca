"""The hot path in one run: raw file to encoded alerts for a full-size quadrant, stage by stage.

    python tests/benchmarks/bench_hot_path.py [folder [times]]

One field of the ztf camera with many short-period variables, so that a quadrant has about 300 candidates;
a reference of four epochs. The exposure after them is processed to warm up, and again under the clock; the
bright stars of the sky around are looked up before, for that is done once and kept. On a shared machine core
seconds grow with the load: with `times` each stage counts with the least of so many runs.
Simulation and references, which are not timed, take minutes; a folder that is named is kept, and used again.
"""
# ruff: noqa: T201 - a benchmark prints its table

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"

import pickle  # noqa: E402 - threads are set first
import shutil  # noqa: E402 - as above
import subprocess  # noqa: E402 - ourselves, in a process of its own
import sys  # noqa: E402 - as above
import tempfile  # noqa: E402 - as above
import time  # noqa: E402 - as above
from contextlib import ExitStack, contextmanager  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above
from unittest import mock  # noqa: E402 - as above

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "steps")]

import science_builder  # noqa: E402 - the path comes first
from hot_path_builder import LATER  # noqa: E402 - as above

from zsds_tasks.settings import REPOSITORY  # noqa: E402 - as above
from zsds_tasks.steps import difference  # noqa: E402 - as above
from zsds_tasks.steps.alerts.run import make_alerts  # noqa: E402 - as above
from zsds_tasks.steps.difference import build, reference_cache, sides  # noqa: E402 - as above
from zsds_tasks.steps.exposure import catalogs, process_exposures, quadrant, run  # noqa: E402 - as above
from zsds_tasks.steps.exposure.configuration import load_exposure_config  # noqa: E402 - as above
from zsds_tasks.steps.references import build_references, load_references_config  # noqa: E402 - as above

CCD, CHANNEL, EPOCHS = 1, 0, 4
FIELD_CENTRE = (320.0, 14.0)
FIELD = "name: ztf\ndescription: One.\npointing_exact: true\nfields: [{id: 600, ra: 320.0, dec: 14.0}]\n"
VARIABLES = ("rr_lyrae: {per_square_degree: 8.0", "rr_lyrae: {per_square_degree: 4000.0")
STAGES = (
    ("read raw frame", quadrant, "read_readout"),
    ("calibrate and measure", quadrant.Chain, "run"),
    ("science products", quadrant, "write_products"),
    ("hand over: background, PSF", sides.JustWritten, "given"),
    ("read reference", reference_cache.ReferenceCache, "of"),
    ("resample reference", sides, "on_science_grid"),
    ("differencing", build, "subtract"),
    ("differencing", build, "measure_difference"),
    ("candidates", build, "detect"),
    ("candidates", build, "measure"),
    ("candidates", build, "_on_the_sky"),
    ("scoring", build, "score"),
    ("difference products", build, "write_difference"),
    ("rest of the difference", difference, "subtract_in_memory"),
    ("rest of the channel", run, "process_quadrant"),
    ("commits", run, "commit_exposure"),
    ("commits", difference, "commit"),
)
JUDGED = ("resample reference", "differencing", "candidates", "scoring")


class Clock:
    """Core-seconds of functions, less those of the functions below them."""

    def __init__(self):
        self.seconds = dict.fromkeys((label for label, *_ in STAGES), 0.0)
        self._inner = []

    def wrap(self, label, function):
        """Return the function, timed."""

        def timed(*arguments, **options):
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                spent = time.process_time() - began
                self.seconds[label] = self.seconds.get(label, 0.0) + spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent

        return timed

    @contextmanager
    def watching(self):
        """Time every stage."""
        with ExitStack() as stack:
            for label, place, name in STAGES:
                timed = self.wrap(label, getattr(place, name))
                stack.enter_context(mock.patch.object(place, name, timed))
            yield


def include_of(folder):
    """Copy the declarations: one field, one filter, many variables."""
    include = folder / "include"
    shutil.copytree(REPOSITORY / "include", include)
    (include / "config" / "survey" / "fields-ztf.yaml").write_text(FIELD)
    simulator = include / "config" / "simulator.yaml"
    text = simulator.read_text().replace("filter_sequence: [i, r, g]", "filter_sequence: [r]")
    simulator.write_text(text.replace(*VARIABLES).replace("planted_per_field: 1", "planted_per_field: 0"))
    return include


def make(folder):
    """Simulate, calibrate the epochs, build the references."""
    include, template = include_of(folder), science_builder.template
    made = template(folder / "made", "ztf", EPOCHS + 1, 1, include, (CCD,))
    others = [rcid for rcid in range(4) if rcid != CHANNEL]
    made.lakehouse.table("raw_quadrants").delete({"rcid": others})
    process_exposures(made.lakehouse, made.settings, LATER, expids=made.expids[:EPOCHS])
    config = load_references_config(include, "ztf")
    values = config.model_dump(mode="json")
    small = load_references_config(include, "mini").model_dump(mode="json")
    values["selection"], values["quality"] = small["selection"], small["quality"]
    config = type(config).model_validate(values)
    built = build_references(made.lakehouse, made.settings, LATER, config=config)
    print(f"references: {built.built} built, failed: {built.failed}")
    (folder / "observatory.pickle").write_bytes(pickle.dumps(made))


def measure(folder, times):
    """Process the exposure once to warm up, and again in other copies under the clock; print."""
    made = pickle.loads((folder / "observatory.pickle").read_bytes())  # noqa: S301 - our own
    measured = made.expids[-1]
    once(made, folder / "warm", measured)
    runs = [once(made, folder / "worked", measured) for _ in range(times)]
    place, done, alerts, seconds = runs[-1]
    least = {label: min(run[3][label] for run in runs) for label in seconds}
    show(place, measured, done, alerts, least | {"whole": sum(least.values())})
    print(f"least of {times} runs, load {os.getloadavg()[0]:.1f}")


def once(made, folder, measured):
    """Process and alert in a fresh copy; return it, both summaries and the core-seconds of each stage."""
    shutil.rmtree(folder, ignore_errors=True)
    place = science_builder.copy_of(made, folder)
    reference_cache.references.clear()  # of 64 channels no worker has the next one's
    least = load_exposure_config(place.settings.include).ghosts.brighter_than_mag
    catalogs.bright_stars(place.settings, FIELD_CENTRE, 5.0, least)
    clock, began = Clock(), time.process_time()
    with clock.watching():
        done = process_exposures(place.lakehouse, place.settings, LATER, expids=[measured])
        alerts = clock.wrap("packets: history, stamps, encoded, in the outbox", make_alerts)(
            place.lakehouse, place.settings, expids=[measured]
        )
    clock.seconds["work lists"] = time.process_time() - began - sum(clock.seconds.values())
    return place, done, alerts, clock.seconds


def show(place, expid, done, alerts, seconds):
    """Print the table, per channel."""
    rows = place.lakehouse.table("candidates").read(["scorr", "drb", "rb"], {"expid": expid}).to_pandas()
    n, strong = done.quadrants, rows[rows.scorr >= 5]
    for failure in (*done.failed, *done.not_compared, *alerts.failed):
        print(f"failed: {failure}")
    print(
        f"{n} channels of 3072 x 3080 px; per channel: {done.sources / n:.0f} sources, "
        f"{len(strong) / n:.0f} candidates of 5 sigma ({len(rows) / n:.0f} rows), "
        f"{strong.rb.notna().sum() / n:.0f} scored by measures, "
        f"{strong.drb.notna().sum() / n:.0f} by stamps, {alerts.alerts / n:.0f} packets"
    )
    for label, spent in seconds.items():
        print(f"| {label} | {spent / n:.3f} |")
    print(f"| resampling, differencing, candidates, scoring | {sum(seconds[k] for k in JUDGED) / n:.3f} |")
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(f"peak memory {int(peak.split()[1]) / 1024**2:.2f} GiB")


def main():
    """Make if need be, in a process of its own; measure."""
    words = sys.argv[1:]
    if words[:1] == ["--make"]:
        make(Path(words[1]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(words[0]) if words else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "observatory.pickle").exists():
            subprocess.run([sys.executable, __file__, "--make", str(folder)], check=True)
        measure(folder, int(words[1]) if len(words) > 1 else 1)


if __name__ == "__main__":
    main()
