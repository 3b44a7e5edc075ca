"""How fast the lakehouse is, beside what it is made of: prints rows of a Markdown table.

Run it by hand: ``python tests/benchmarks/bench_lakehouse.py [rows]``, a million by default.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import arrow_schema, conform, parse_table
from zsds_tasks.settings import Settings

DECLARATION = """
table: sources
description: Measured sources.
key: [sourceid]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 200000}
columns:
  - {name: sourceid, type: int64, description: Identifier.}
  - {name: expid, type: int32, description: Exposure.}
  - {name: ra, type: float64, unit: deg, description: R.A.}
  - {name: dec, type: float64, unit: deg, description: Dec.}
  - {name: flux, type: float32, unit: electron, description: Flux.}
  - {name: fluxerr, type: float32, unit: electron, description: Its uncertainty.}
  - {name: flags, type: int16, description: Flags.}
  - {name: fid, type: int8, description: Filter.}
"""
CONES = 60


def make_rows(count, first=0, seed=0, around=None):
    random = np.random.default_rng(seed)
    ra, dec = random.uniform(0.0, 360.0, count), np.degrees(np.arcsin(random.uniform(-1.0, 1.0, count)))
    if around is not None:  # one exposure: 47 square degrees
        ra, dec = around[0] + random.uniform(-3.5, 3.5, count), around[1] + random.uniform(-3.5, 3.5, count)
    return pa.table(
        {
            "sourceid": np.arange(first, first + count),
            "expid": np.full(count, first % 1000, "i4"),
            "ra": ra,
            "dec": dec,
            "flux": random.lognormal(5.0, 1.0, count).astype("f4"),
            "fluxerr": random.lognormal(1.0, 0.3, count).astype("f4"),
            "flags": random.integers(0, 8, count).astype("i2"),
            "fid": random.integers(1, 4, count).astype("i1"),
        }
    )


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def median_ms(work, arguments):
    return 1000.0 * statistics.median(timed(lambda one=one: work(*one))[0] for one in arguments)


def tell(what, value, unit, peer=""):
    sys.stdout.write(f"| {what} | {value:,.1f} {unit} | {peer} |\n")
    sys.stdout.flush()


def bench_changes(table, count):
    rows = make_rows(count)
    took, _ = timed(lambda: table.merge(rows))
    tell(
        f"merge {count:,} rows into an empty table",
        count / took / 1000.0,
        "thousand rows/s",
        bench_append(rows),
    )
    took, _ = timed(lambda: table.merge(rows))
    tell(f"merge the same {count:,} rows again (no commit)", count / took / 1000.0, "thousand rows/s")
    table.repartition()
    quadrants = [make_rows(64, count + 64 * n, n, around=(150.0, 20.0)) for n in range(20)]
    tell(
        "commit 64 rows (raw quadrants of one exposure), median",
        median_ms(table.merge, [(q,) for q in quadrants]),
        "ms",
    )
    first = count + 10_000
    exposures = [make_rows(100_000, first + 100_000 * n, n, around=(150.0, 20.0)) for n in range(4)]
    tell(
        "commit 100,000 rows (sources of one exposure), median",
        median_ms(table.merge, [(e,) for e in exposures]),
        "ms",
    )
    took, _ = timed(lambda: table.merge(exposures[-1]))
    tell("re-run that exposure unchanged (no commit)", 1000.0 * took, "ms")


def bench_append(rows):
    from deltalake import write_deltalake

    with tempfile.TemporaryDirectory() as folder:
        took, _ = timed(lambda: write_deltalake(folder, rows))
    return f"write_deltalake, append, no key, no sky: {rows.num_rows / took / 1000.0:,.0f}"


def bench_reads(table, published):
    import duckdb

    random = np.random.default_rng(5)
    whole = table.read(["ra", "dec"])
    picks = random.integers(0, whole.num_rows, CONES)
    centres = [(whole["ra"][int(row)].as_py(), whole["dec"][int(row)].as_py()) for row in picks]
    uri = published.uri

    def by_duckdb(ra, dec):
        files = f"{uri}/sources/dataset/*/*/*.parquet"
        query = "select * from read_parquet(?) where dec between ? and ? and ra between ? and ?"
        return duckdb.execute(query, [files, dec - 0.0014, dec + 0.0014, ra - 0.0014, ra + 0.0014]).fetchall()

    peer = f"DuckDB over the same files: {median_ms(by_duckdb, centres):.0f} ms"
    tell(
        "cone of 5 arcsec in the live table, median",
        median_ms(lambda ra, dec: table.cone(ra, dec, 5.0), centres),
        "ms",
        peer,
    )
    reader = HatsReader(uri)
    peer = f"LSDB: {bench_lsdb(uri, centres[:5]):.0f} ms"
    tell(
        "cone of 5 arcsec in the publication, median",
        median_ms(lambda ra, dec: reader.read(cone=(ra, dec, 5.0)), centres),
        "ms",
        peer,
    )


def bench_lsdb(uri, centres):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lsdb

        catalog = lsdb.open_catalog(uri)
        return median_ms(lambda ra, dec: catalog.cone_search(ra, dec, 5.0).compute(), centres)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    declaration = parse_table(DECLARATION)
    assert arrow_schema(declaration)
    conform([], declaration)
    with tempfile.TemporaryDirectory() as folder:
        table = Table(open_storage(folder, Settings()), declaration)
        table.merge(make_rows(10, 10**12))  # imports and first use
        table.delete({})
        sys.stdout.write("| what | ours | peer |\n|---|---|---|\n")
        bench_changes(table, count)
        took, published = timed(lambda: publish(table))
        tell(
            f"publish {published.rows:,} rows, {published.files} pixels, compaction included",
            1000.0 * took,
            "ms",
        )
        table.delete({"sourceid": 5})
        took, _ = timed(lambda: publish(table))
        tell("publish again after one row changed", 1000.0 * took, "ms")
        took, _ = timed(lambda: publish(table))
        tell("publish again, nothing changed", 1000.0 * took, "ms")
        bench_reads(table, published)


if __name__ == "__main__":
    main()
