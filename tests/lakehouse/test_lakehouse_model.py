"""Whatever is done to a table, it equals a dictionary to which the same was done."""

from __future__ import annotations

import tempfile
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import parse_table
from zsds_tasks.settings import Settings

DECLARATION = parse_table("""
table: model
description: A small table over the sky.
key: [name, number]
partition: {kind: healpix, ra: ra, dec: dec, order: 0, max_rows: 6}
columns:
  - {name: name, type: string, description: Key.}
  - {name: number, type: int16, description: Key.}
  - {name: ra, type: float64, unit: deg, description: Right ascension.}
  - {name: dec, type: float64, unit: deg, description: Declination.}
  - {name: value, type: float32, description: Value., nullable: true}
""")

rows = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b"]),
            "number": st.integers(0, 6),
            "ra": st.sampled_from([0.0, 45.0, 45.1, 200.0, 359.9]),
            "dec": st.sampled_from([-89.0, 0.0, 0.01, 41.0]),
            "value": st.sampled_from([None, 0.0, 1.5, float("nan")]),
        }
    ),
    max_size=8,
    unique_by=lambda row: (row["name"], row["number"]),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), rows),
        st.tuples(st.just("replace"), st.sampled_from(["a", "b"]), rows),
        st.tuples(st.just("delete"), st.integers(0, 6), st.integers(0, 6)),
        st.tuples(st.sampled_from(["compact", "repartition"])),
    ),
    min_size=1,
    max_size=6,
)


def told(rows):
    """Return rows in a form in which NaN equals NaN."""
    return {(row["name"], row["number"]): tuple(str(row[name]) for name in DECLARATION.names) for row in rows}


def apply(table, model, operation, *arguments):
    """Do the same to both; return the commit and whether the model changed."""
    before = told(model.values())
    if operation == "merge":
        commit = table.merge(arguments[0])
        model.update({(row["name"], row["number"]): row for row in arguments[0]})
    elif operation == "replace":
        name, incoming = arguments
        incoming = [row for row in incoming if row["name"] == name]
        commit = table.replace(incoming, {"name": name})
        for key in [key for key in model if key[0] == name]:
            del model[key]
        model.update({(row["name"], row["number"]): row for row in incoming})
    elif operation == "delete":
        low, high = arguments
        commit = table.delete({"number": (low, high)})
        for key in [key for key in model if low <= key[1] < high]:
            del model[key]
    else:
        return getattr(table, operation)(), None
    return commit, told(model.values()) != before


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(operations)
def test_a_table_equals_a_dictionary(sequence):
    with tempfile.TemporaryDirectory() as folder:
        table = Table(open_storage(folder, Settings()), DECLARATION)
        model = {}
        for step in sequence:
            commit, changed = apply(table, model, *step)
            assert told(table.read().to_pylist()) == told(model.values())
            assert table.count() == len(model)
            if changed is not None:
                assert (commit.version is not None) == changed
            snapshot = table.snapshot()
            if snapshot is not None:
                check_layout(snapshot)


def check_layout(snapshot):
    """No two pixels overlap, and every row lies in its pixel, sorted."""
    pixels = list(snapshot.pixels())
    assert all(left.end <= right.first for left, right in pairwise(pixels))
    for pixel, files in snapshot.pixels().items():
        for file in files:
            index = snapshot.load([file], ["_healpix_29"]).column(0).to_pylist()
            assert index == sorted(index)
            assert pixel.first <= index[0]
            assert index[-1] < pixel.end
            assert file.rows == len(index)


def test_the_model_tells_null_from_nan():
    row = {"name": "a", "number": 1, "ra": 0.0, "dec": 0.0, "value": None}
    assert told([row]) != told([row | {"value": float("nan")}])
