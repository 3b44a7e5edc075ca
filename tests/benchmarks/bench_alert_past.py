"""How the reads behind an exposure's alerts grow with the years in the lake; rows of docs/benchmarks.md.

    python tests/benchmarks/bench_alert_past.py [candidates ...]

A lake of generated rows: one field of 64 channels, looked at again and again, 100 candidates an image, a
third of them of objects that come back every time. Then the last exposure's alerts are prepared: which
candidates trigger, their names, their past. Forced photometry reads pixels: bench_forced.py measures it.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the path comes first
import pyarrow as pa  # noqa: E402 - as above

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402 - as above
from zsds_tasks.products.packets import load_packet_schema  # noqa: E402 - as above
from zsds_tasks.products.tables import arrow_schema, load_table  # noqa: E402 - as above
from zsds_tasks.settings import Settings  # noqa: E402 - as above
from zsds_tasks.steps.alerts.configuration import AlertsConfig  # noqa: E402 - as above
from zsds_tasks.steps.alerts.names import name_triggers, next_free  # noqa: E402 - as above
from zsds_tasks.steps.alerts.past import Past  # noqa: E402 - as above
from zsds_tasks.steps.alerts.work import triggers_of  # noqa: E402 - as above

CHANNELS, PER_IMAGE, RETURNING, SIDE_DEG, NID = 64, 100, 33, 0.86, 3000
RA0, DEC0 = 150.0, 2.0
NUMBER = {"int64": 0, "int32": 0, "int16": 1, "int8": 1, "float32": 1.0, "float64": 1.0, "bool": True}
VERSION, CHUNK = "0123456789ab", 200_000


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def columns(table, n, known):
    """Return a table of n rows: what is known, and something of the right type elsewhere."""
    made, declaration = {}, load_table(table)
    for column in declaration.columns:
        if column.name in known:
            made[column.name] = known[column.name]
        elif column.nullable:
            made[column.name] = pa.nulls(n, arrow_schema(declaration).field(column.name).type)
        elif column.is_list:
            made[column.name] = pa.array([[]] * n, pa.list_(pa.string()))
        elif column.type == "string":
            made[column.name] = pa.array([VERSION] * n)
        else:
            low = (column.range or (None,))[0]
            value = NUMBER.get(column.type, 0)
            made[column.name] = np.full(n, value if low is None else max(low, value))
    return pa.table(made)


def middles():
    k = np.arange(CHANNELS)
    return RA0 + (k % 8 - 3.5) * SIDE_DEG, DEC0 + (k // 8 - 3.5) * SIDE_DEG


def images(epochs):
    """Return columns of the images of many epochs, two a night apart by days."""
    epoch, rcid = (
        grid.ravel() for grid in np.meshgrid(np.arange(epochs), np.arange(CHANNELS), indexing="ij")
    )
    nid = NID + epoch // 2 * 3
    fraction = 0.2 + 0.02 * (epoch % 2)
    expid = nid * 100_000 + (fraction * 1e5).astype(np.int64)
    ra, dec = middles()
    ra, dec = ra[rcid], dec[rcid]
    half = SIDE_DEG / 2
    corners = {}
    for k, (dx, dy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1)), start=1):
        corners |= {f"ra{k}": ra + dx * half, f"dec{k}": dec + dy * half}
    night = np.array([f"2025{1 + n // 28 % 12:02}{1 + n % 28:02}" for n in range(epochs)])[epoch]
    pid = expid * 10_000 + rcid * 100 + 15
    jd, one = nid + fraction + 2457754.5, np.ones(len(pid), np.int64)
    return {
        "pid": pid, "expid": expid, "rcid": rcid, "nid": nid, "night": night, "obsjd": jd,
        "field": 500 * one, "fid": 1 + epoch % 2, "programid": one, "ra": ra, "dec": dec, "status": one,
        "rfid": 500_120_000 + (1 + epoch % 2) * 100 + rcid, "rfversion": one, "magzp": 26.0 * one,
        "exptime": 30.0 * one, "diffmaglim": 20.5 * one, "pass_number": one,
        "path": pa.nulls(len(pid), pa.string()), **corners,
    }  # fmt: skip


def candidates(shots, random):
    n = len(shots["pid"]) * PER_IMAGE
    at = np.repeat(np.arange(len(shots["pid"])), PER_IMAGE)
    number = np.tile(np.arange(PER_IMAGE), len(shots["pid"]))
    fixed = np.random.default_rng(1).uniform(-0.49, 0.49, (2, CHANNELS, PER_IMAGE)) * SIDE_DEG
    x, y = fixed[:, shots["rcid"][at], number]
    fresh = number >= RETURNING
    x[fresh], y[fresh] = random.uniform(-0.49, 0.49, (2, int(fresh.sum()))) * SIDE_DEG
    take = {name: shots[name][at] for name in (
        "pid", "expid", "night", "nid", "fid", "field", "rcid", "programid", "rfid", "rfversion",
        "diffmaglim",
    )}  # fmt: skip
    known = take | {
        "candid": take["pid"] * 1_000_000 + 15_000 + number, "tblid": number, "jd": shots["obsjd"][at],
        "ra": shots["ra"][at] + x, "dec": shots["dec"][at] + y, "scorr": random.uniform(4, 30, n),
        "magpsf": random.uniform(18, 20, n), "sigmapsf": np.full(n, 0.1), "nbad": np.where(number % 5, 9, 0),
        "fwhm": np.full(n, 2.5), "elong": np.full(n, 1.1), "magdiff": np.full(n, 0.05),
        "rb": pa.nulls(n, pa.float32()), "drb": pa.nulls(n, pa.float32()),
    }  # fmt: skip
    return columns("candidates", n, known)


def fill(lakehouse, epochs):
    """Write a lake of so many epochs; return the last exposure."""
    random = np.random.default_rng(3)
    shots = images(epochs)
    for table in ("science_images", "difference_images"):
        names = {column.name for column in load_table(table).columns}
        n = len(shots["pid"])
        lakehouse.table(table).merge(columns(table, n, {k: v for k, v in shots.items() if k in names}))
    per = CHUNK // (CHANNELS * PER_IMAGE) * CHANNELS
    for start in range(0, len(shots["pid"]), per):
        part = {name: values[start : start + per] for name, values in shots.items()}
        lakehouse.table("candidates").merge(candidates(part, random))
    rfid, first = np.unique(shots["rfid"], return_index=True)
    n = len(rfid)
    known = {
        "rfid": rfid,
        "version": np.ones(n, np.int64),
        "ra": shots["ra"][first],
        "dec": shots["dec"][first],
    }
    lists = {"epochs": pa.array([[]] * n, pa.list_(pa.int64()))}
    stamp = {"created": pa.array([0] * n, pa.timestamp("us", tz="UTC"))}
    known |= lists | stamp | {"jdstart": np.full(n, 2457800.0), "jdend": np.full(n, 2457900.0)}
    lakehouse.table("references").merge(columns("references", n, known))
    names = ("pid", "ra", "dec", "path", "products", "processing_version", "obsjd", "expid")
    rows = lakehouse.table("difference_images").read(names, {"expid": int(shots["expid"][-1])}).to_pylist()
    return int(shots["expid"][-1]), {row["pid"]: row for row in rows}


def timed(name, work, spent):
    began = time.perf_counter()
    result = work()
    spent[name] = time.perf_counter() - began
    return result


def measure(lakehouse, settings, expid, rows):
    """Prepare the alerts of an exposure; return seconds by part."""
    spent, config = {}, AlertsConfig()
    triggers, _ = timed("triggers", lambda: triggers_of(lakehouse, expid, rows, 5.0, config), spent)
    timed("names", lambda: name_triggers(lakehouse, triggers, config.naming), spent)
    timed("next free name", lambda: next_free(lakehouse, 2025), spent)
    past = timed("facts", lambda: Past(lakehouse, settings, triggers, config), spent)
    counts = timed("counts", past.counts, spent)
    history = timed("history", lambda: past.history(load_packet_schema()), spent)
    earlier = sum(row["candid"] is not None for k in range(triggers.num_rows) for row in history.previous(k))
    return triggers.num_rows, earlier / triggers.num_rows, float(np.mean(counts.ncovhist)), spent


def main():
    wanted = [int(word) for word in sys.argv[1:]] or [100_000, 300_000, 1_000_000]
    for n in wanted:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(var=Path(folder), camera="ztf", workers=1)
            lakehouse = open_lakehouse(settings)
            began = time.perf_counter()
            exposure = fill(lakehouse, max(n // (CHANNELS * PER_IMAGE), 2))
            filled = time.perf_counter() - began
            measure(lakehouse, settings, *exposure)  # the first reads declarations and compiles
            alerts, earlier, covered, spent = measure(lakehouse, settings, *exposure)
            rows = lakehouse.table("candidates").count()
            parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
            say(
                f"| {rows:,} candidates | {alerts} alerts, {earlier:.1f} earlier detections, "
                f"{covered:.0f} images each "
                f"| {sum(spent.values()):.2f} s: {parts} | (filled in {filled:.0f} s)"
            )


if __name__ == "__main__":
    main()
