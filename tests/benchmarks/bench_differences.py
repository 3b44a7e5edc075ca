"""How fast two versions of a table are compared, beside Polars on all rows: prints rows of a Markdown table.

Run it by hand: ``python tests/benchmarks/bench_differences.py [rows]``, a million by default. Both must find
the same counts. Polars joins all in memory; we hold a pixel at a time.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.difference_states import state_at_version
from zsds_tasks.lakehouse.differences import compare_states
from zsds_tasks.products.tables import parse_table

DECLARATION = """
table: sources
description: Measured sources.
key: [sourceid]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 100000}
columns:
  - {name: sourceid, type: int64, description: Identifier.}
  - {name: ra, type: float64, unit: deg, description: R.A.}
  - {name: dec, type: float64, unit: deg, description: Dec.}
  - {name: flux, type: float32, unit: electron, description: Flux.}
  - {name: fluxerr, type: float32, unit: electron, description: Its uncertainty.}
  - {name: flags, type: int16, description: Flags.}
  - {name: processing_version, type: string, description: Version.}
"""


class Only(Lakehouse):
    """A lakehouse with one declared table."""

    def table(self, declared):
        return super().table(parse_table(DECLARATION) if declared == "sources" else declared)


def make_rows(count, seed=0):
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "sourceid": np.arange(count),
            "ra": random.uniform(0.0, 360.0, count),
            "dec": np.degrees(np.arcsin(random.uniform(-1.0, 1.0, count))),
            "flux": random.lognormal(5.0, 1.0, count).astype("f4"),
            "fluxerr": random.lognormal(1.0, 0.3, count).astype("f4"),
            "flags": random.integers(0, 8, count).astype("i2"),
            "processing_version": np.full(count, "a"),
        }
    )


def reprocessed(rows, chosen):
    flux = rows["flux"].to_numpy().copy()
    flux[chosen] *= np.float32(1.01)
    version = np.where(chosen, "b", "a")
    columns = {name: rows[name] for name in rows.column_names}
    return pa.table(columns | {"flux": flux, "processing_version": version}).filter(pa.array(chosen))


def with_polars(uri, before, after):
    """Return rows added, removed, changed, and the pairs of versions, by joins of all rows."""
    old, new = (pl.scan_delta(uri, version=version) for version in (before, after))
    columns = ("ra", "dec", "flux", "fluxerr", "flags", "processing_version")
    pairs = old.join(new, on="sourceid", how="inner", suffix="_new")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in columns)
    names = ["processing_version", "processing_version_new"]
    causes = pairs.filter(differs).group_by(names).len().collect()
    added = new.join(old, on="sourceid", how="anti").select(pl.len()).collect().item()
    removed = old.join(new, on="sourceid", how="anti").select(pl.len()).collect().item()
    return added, removed, causes["len"].sum()


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(lakehouse, table, what, before, after):
    states = state_at_version(table, before), state_at_version(table, after)
    took, found = timed(lambda: compare_states(lakehouse, *states))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peer_took, peer = timed(lambda: with_polars(table.uri, before, after))
    assert peer == (found.added, found.removed, found.changed), (peer, found)
    share = f"{found.rows_compared:,} rows read"
    sys.stdout.write(
        f"| {what} | {1000 * took:,.0f} ms, {share}, process at most {peak:,.0f} MB so far "
        f"| {1000 * peer_took:,.0f} ms |\n"
    )
    sys.stdout.flush()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        lakehouse = Only(open_storage(folder), Path("include"))
        table = lakehouse.table("sources")
        rows = make_rows(count)
        table.merge(rows)
        table.repartition()
        table.compact()
        first = table.version()
        near = np.hypot(rows["ra"].to_numpy() - 100.0, rows["dec"].to_numpy() - 20.0) < 4.0
        part = reprocessed(rows, near)
        table.merge(part)
        second = table.version()
        table.merge(reprocessed(rows, np.ones(count, dtype=bool)))
        with_polars(table.uri, first, first)  # its first call starts threads
        compare(lakehouse, table, f"{part.num_rows:,} rows of one field changed", first, second)
        compare(lakehouse, table, f"all {count:,} rows changed", first, table.version())


if __name__ == "__main__":
    main()
