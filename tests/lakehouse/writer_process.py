"""Merge detections into a table from a process of its own: ``writer_process.py <root> <writer> <count>``.

Each merge holds keys that all writers share and keys of this writer alone; `expid` tells who wrote last and
`mag` how often. Prints one line per commit.
"""

from __future__ import annotations

import sys

import pyarrow as pa
from conftest import DECLARATION

from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import parse_table
from zsds_tasks.settings import Settings

SHARED = 20
OWN = 5


def rows_of(writer, turn):
    """Return one merge: all shared keys, and a few new keys of the writer's own."""
    own = 1_000_000 * (writer + 1) + turn * OWN
    keys = [*range(SHARED), *range(own, own + OWN)]
    return pa.Table.from_pylist(
        [
            {
                "detid": key,
                "expid": writer,
                # A shared row lies somewhere else in each merge: it must leave its old pixel.
                "ra": (key * 17.0 + writer * 40.0 + turn * 3.0) % 360.0,
                "dec": 60.0 * ((key + writer + turn) % 3 - 1),
                "mag": float(turn),
                "seen": 0,
                "history": None,
                "band": "g",
            }
            for key in keys
        ],
        schema=pa.schema(
            [
                ("detid", pa.int64()),
                ("expid", pa.int32()),
                ("ra", pa.float64()),
                ("dec", pa.float64()),
                ("mag", pa.float32()),
                ("seen", pa.timestamp("us", tz="UTC")),
                ("history", pa.list_(pa.float32())),
                ("band", pa.string()),
            ]
        ),
    )


def main():
    root, writer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    table = Table(open_storage(root, Settings()), parse_table(DECLARATION))
    for turn in range(count):
        commit = table.merge(rows_of(writer, turn))
        sys.stdout.write(f"{turn} {commit.version}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
