"""How quickly a release answers, beside other readers of the same files, and what an epoch costs on disk.

``python tests/benchmarks/bench_catalog.py cones [rows] [folder]``   10 million rows by default
``python tests/benchmarks/bench_catalog.py grow [epochs ...] [folder]``   10^5 10^6 10^7; draws the plot

`folder` keeps what was made, so that a second run only asks. ``grow 100000000`` takes 10^8 epochs.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from zsds_tasks.catalog.catalog import Catalog
from zsds_tasks.catalog.opening import Found
from zsds_tasks.catalog.sources import Published
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.sky.heliocentric import heliocentric_mjd

ASKED, WARM, OF_PEERS = 100, 10, 20
RADIUS = 5.0
EPOCHS_PER_CURVE, CURVES_PER_UNIT, UNITS_PER_COMMIT = 100, 1000, 10
PUBLISHED_MARK = 14.7  # bytes per epoch of ZTF's own Parquet release
MAIN_ID = {"ucd": "meta.id;meta.main"}


def tell(what, value, peer=""):
    sys.stdout.write(f"| {what} | {value} | {peer} |\n")
    sys.stdout.flush()


def quantiles(work, arguments):
    """Return p50 and p95 of the calls after the first few, and core time, which load changes less."""
    took, core = [], []
    for one in arguments:
        start, began = time.perf_counter(), time.process_time()
        work(*one)
        took.append(1000 * (time.perf_counter() - start))
        core.append(1000 * (time.process_time() - began))
    half, most = np.percentile(took[WARM:], [50, 95])
    return f"{half:.1f} / {most:.1f} ms ({np.median(core[WARM:]):.1f} core-ms)"


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make_objects(count, folder):
    """Write a catalogue of the whole sky, in the columns of a short table of objects."""
    random = np.random.default_rng(1)
    columns = {
        "objectid": random.permutation(count),
        "ra": random.uniform(0, 360, count),
        "dec": np.degrees(np.arcsin(random.uniform(-1, 1, count))),
    }
    for name in ("g_meanmag", "r_meanmag", "g_amplitude", "r_amplitude", "period", "variability"):
        columns[name] = random.normal(17, 1, count).astype("f4")
    schema = pa.schema(
        [
            pa.field(n, pa.array(v[:1]).type, metadata=MAIN_ID if n == "objectid" else None)
            for n, v in columns.items()
        ]
    )
    write_catalog("objects", pa.table(columns, schema=schema), folder, order=1, max_rows=200_000)


def open_only(name, uri):
    settings = Settings()
    return Catalog(Found("bench", None, {name: lambda: Published(name, uri, settings)}), settings)


def bench_cones(count, folder):
    if not (Path(folder) / "collection.properties").exists():
        make_objects(count, folder)
    catalog = open_only("objects", folder)
    random = np.random.default_rng(2)
    start = time.perf_counter()
    places = catalog.arrow("objects", ["ra", "dec"])
    tell("(all positions read by pyarrow)", f"{time.perf_counter() - start:.1f} s")
    chosen = random.integers(0, places.num_rows, 10_000)
    positions = np.stack([places["ra"].to_numpy()[chosen], places["dec"].to_numpy()[chosen]], axis=1)
    del places
    centres = [tuple(map(float, one)) for one in positions[:ASKED]]
    what = f"5 arcsec in {count:,} rows, all columns: p50 / p95"
    tell(f"cone of {what}", quantiles(lambda ra, dec: catalog.cone("objects", ra, dec, RADIUS), centres))
    start, began = time.perf_counter(), time.process_time()
    found = catalog.cones("objects", positions, RADIUS)
    many = f"{time.perf_counter() - start:.2f} s ({time.process_time() - began:.2f} core-s)"
    assert found.num_rows >= len(positions)
    tell(f"10,000 cones in one call ({found.num_rows:,} rows)", many)
    names = [(int(one),) for one in random.integers(0, count, ASKED)]
    tell("row of an identifier: p50 / p95", quantiles(lambda one: catalog.ids("objects", [one]), names))
    tell("peak memory so far", f"{peak_mb()} MB")
    tell("row of an identifier", "", f"DuckDB {ids_by_duckdb(catalog, names)}")
    tell("cone", "", f"DuckDB {by_duckdb(catalog, centres)}")
    tell("cone", "", f"pyarrow dataset {by_pyarrow(catalog, centres)}")
    by_lsdb(catalog, centres, positions, found.num_rows)


def by_duckdb(catalog, centres):
    connection = catalog.duckdb()
    query = "select * from objects where dec between ? and ? and ra between ? and ?"

    def ask(ra, dec):
        dy = RADIUS / 3600
        dx = dy / np.cos(np.radians(dec))
        return connection.execute(query, [dec - dy, dec + dy, ra - dx, ra + dx]).fetchall()

    return quantiles(ask, centres[: WARM + OF_PEERS])


def ids_by_duckdb(catalog, names):
    connection = catalog.duckdb()
    query = "select * from objects where objectid = ?"
    return quantiles(lambda one: connection.execute(query, [one]).fetchall(), names[: WARM + OF_PEERS])


def by_pyarrow(catalog, centres):
    dataset = catalog.source("objects").dataset()

    def ask(ra, dec):
        dy = RADIUS / 3600
        dx = dy / np.cos(np.radians(dec))
        ra_, dec_ = ds.field("ra"), ds.field("dec")
        inside = (dec_ >= dec - dy) & (dec_ <= dec + dy) & (ra_ >= ra - dx) & (ra_ <= ra + dx)
        return dataset.to_table(filter=inside)

    return quantiles(ask, centres[: WARM + OF_PEERS])


def by_lsdb(catalog, centres, positions, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lsdb
        import pandas as pd
        from dask import config

        config.set(scheduler="threads")
        whole = catalog.lsdb("objects")

        def ask(ra, dec):
            return whole.cone_search(ra, dec, RADIUS).compute(progress_bar=False)

        tell("cone", "", f"LSDB {quantiles(ask, centres[: WARM + OF_PEERS])}")
        frame = pd.DataFrame({"ra": positions[:, 0], "dec": positions[:, 1]})
        start, began = time.perf_counter(), time.process_time()
        asked = lsdb.from_dataframe(frame, margin_threshold=10)
        joined = asked.crossmatch(whole, n_neighbors=5, radius_arcsec=RADIUS, suffixes=("_a", ""))
        assert len(joined.compute(progress_bar=False)) == rows
        took = f"{time.perf_counter() - start:.1f} s ({time.process_time() - began:.1f} core-s)"
        tell("10,000 cones in one call", "", f"LSDB crossmatch {took}")


def unit_rows(number, seed):
    """Return the light curves of a unit: one image a night, times heliocentric, errors by magnitude."""
    random = np.random.default_rng([seed, number])
    n, e = CURVES_PER_UNIT, EPOCHS_PER_CURVE
    field, fid = 1 + number // 2, 1 + number % 2
    ra0, dec0 = (37.0 * field) % 360.0, np.degrees(np.arcsin(np.mod(0.618 * field, 1.9) - 0.95))
    dec = dec0 + random.uniform(-0.43, 0.43, n)
    ra = (ra0 + random.uniform(-0.43, 0.43, n) / np.cos(np.radians(dec))) % 360.0
    images = np.sort(58_200 + random.integers(0, 2000, e) + random.uniform(0.1, 0.5, e))
    magnitude = 21.0 - random.exponential(1.2, n).clip(0, 8)
    error = np.hypot(0.01, 0.15 * 10 ** (0.4 * (magnitude - 20.8)))[:, None] * random.lognormal(0, 0.1, e)
    quality = np.where(random.random(e) < 0.03, 32768, 0)
    cells = {
        "hmjd": heliocentric_mjd(images[None, :], ra[:, None], dec[:, None]),
        "mag": (magnitude[:, None] + error * random.normal(size=(n, e))).astype("f4"),
        "magerr": error.astype("f4"),
        "clrcoeff": np.broadcast_to(random.normal(-0.05, 0.01, e).astype("f4"), (n, e)),
        "catflags": np.broadcast_to(quality.astype("i4"), (n, e))
        | np.where(random.random((n, e)) < 0.01, 2, 0),
    }
    offsets = pa.array(np.arange(0, n * e + 1, e), pa.int32())
    schema = row_schema(load_table("lightcurves"))
    nested = schema.field("lightcurve").type
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(cells[f.name].ravel(), f.type.value_type)) for f in nested
    ]
    columns = {
        "objectid": ((field * 10 + fid) * 1000 + 11) * 10**8 + np.arange(n),
        "filterid": np.full(n, fid), "fieldid": np.full(n, field), "rcid": np.zeros(n, int),
        "objra": ra, "objdec": dec, "nepochs": np.full(n, e),
        "lightcurve": pa.StructArray.from_arrays(lists, fields=list(nested)),
    }  # fmt: skip
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in schema], schema=schema)


def grow_once(epochs, folder):
    """Store light curves as the pipeline does, publish them, ask for some; print JSON."""
    settings = Settings(var=Path(folder), workers=1)
    lakehouse = open_lakehouse(settings)
    table = lakehouse.table("lightcurves")
    units = max(1, epochs // (CURVES_PER_UNIT * EPOCHS_PER_CURVE))
    written = 0.0
    for first in range(0, units, UNITS_PER_COMMIT):
        rows = pa.concat_tables(unit_rows(k, 7) for k in range(first, min(first + UNITS_PER_COMMIT, units)))
        start = time.process_time()
        table.merge(rows)
        written += time.process_time() - start
    start = time.process_time()
    published = lakehouse.publish("lightcurves")
    publishing = time.process_time() - start
    memory = peak_mb()
    leaves = sum(path.stat().st_size for path in Path(published.uri, "lightcurves").rglob("Npix=*.parquet"))
    whole = sum(path.stat().st_size for path in Path(published.uri).rglob("*") if path.is_file())
    catalog = open_only("lightcurves", published.uri)
    names = catalog.arrow("lightcurves", ["objectid"])["objectid"].to_numpy()
    chosen = np.random.default_rng(3).choice(names, ASKED)
    asked = quantiles(lambda one: catalog.light_curve(int(one)), [(one,) for one in chosen])
    count = published.rows * EPOCHS_PER_CURVE
    facts = {
        "epochs": count, "write_s": written, "publish_s": publishing, "bytes": leaves / count,
        "all_bytes": whole / count, "memory_mb": memory, "by_id": asked, "pixels": published.files,
    }  # fmt: skip
    sys.stdout.write(json.dumps(facts) + "\n")


def grow(sizes, folder):
    found = []
    for epochs in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            done = subprocess.run(
                [sys.executable, __file__, "grow-once", str(epochs), place],
                capture_output=True,
                text=True,
                check=True,
            )
        facts = json.loads(done.stdout.splitlines()[-1])
        found.append(facts)
        tell(
            f"{facts['epochs']:,} epochs: merge, publish; light curve by id p50 / p95",
            f"{facts['write_s']:.1f} core-s, {facts['publish_s']:.2f} core-s; {facts['by_id']}",
            f"{facts['bytes']:.2f} bytes per epoch ({facts['all_bytes']:.2f} with margin and index; "
            f"published mark {PUBLISHED_MARK}), {facts['pixels']} pixels, peak {facts['memory_mb']} MB",
        )
    draw(found)


def draw(found):
    from matplotlib.figure import Figure

    epochs = [facts["epochs"] for facts in found]
    figure = Figure(figsize=(10, 3.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, mark, colour in (("write_s", "o", "#0072b2"), ("publish_s", "s", "#d55e00")):
        label = {"write_s": "merge into the table", "publish_s": "publish (HATS, margin, index)"}[name]
        left.loglog(epochs, [facts[name] for facts in found], marker=mark, color=colour, label=label)
    left.set_ylabel("core seconds")
    left.legend(frameon=False)
    right.semilogx(
        epochs, [facts["bytes"] for facts in found], marker="o", color="#009e73", label="light curves"
    )
    right.semilogx(
        epochs, [f["all_bytes"] for f in found], marker="^", color="#7b5ea7", label="with margin and index"
    )
    right.axhline(PUBLISHED_MARK, color="#9a9a9a", linestyle="--", label="ZTF's own release")
    right.set_ylim(0, 1.1 * max(PUBLISHED_MARK, *(f["all_bytes"] for f in found)))
    right.set_ylabel("bytes per epoch")
    right.legend(frameon=False, loc="lower right")
    for axes in (left, right):
        axes.set_xlabel("epochs")
        axes.grid(color="#e4e4e4")
        axes.set_axisbelow(True)
    figure.savefig(REPOSITORY / "docs/images/light_curve_growth.png", metadata={"Software": None})


def main():
    what, *words = sys.argv[1:] or ["cones"]
    numbers = [int(word) for word in words if word.isdigit()]
    folders = [word for word in words if not word.isdigit()]
    if what == "grow-once":
        grow_once(numbers[0], folders[0])
        return
    sys.stdout.write("| what | ours | peer |\n|---|---|---|\n")
    if what == "grow":
        grow(numbers or [10**5, 10**6, 10**7], folders[0] if folders else None)
        return
    count = numbers[0] if numbers else 10_000_000
    with tempfile.TemporaryDirectory() as temporary:
        bench_cones(count, folders[0] if folders else temporary)


if __name__ == "__main__":
    main()
