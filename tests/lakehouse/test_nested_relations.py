"""Relations on nested columns and places say what plain Python says of each row."""

import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.lakehouse.checks import add_lookups, to_pandas
from zsds_tasks.lakehouse.layout import as_stored
from zsds_tasks.lakehouse.relations import holds, names_in
from zsds_tasks.lakehouse.suites import RELATION, Lookup, declared_suite
from zsds_tasks.products.tables import INDEX_COLUMN, conform, parse_table
from zsds_tasks.sky import healpix

VALUE = st.one_of(st.none(), st.just(math.nan), st.floats(-5, 5))
ROWS = st.lists(
    st.tuples(st.lists(VALUE, max_size=4), st.lists(st.floats(0, 9), max_size=4)), min_size=1, max_size=8
)
TYPE = pa.struct([("t", pa.list_(pa.float64())), ("m", pa.list_(pa.float32()))])
PLACES = parse_table("""
table: places
description: Places.
key: [name]
partition: {kind: healpix, ra: ra, dec: dec, order: 3, max_rows: 1000}
columns:
  - {name: name, type: int64, description: Name.}
  - {name: ra, type: float64, unit: deg, description: Right ascension., range: [0, 360]}
  - {name: dec, type: float64, unit: deg, description: Declination., range: [-90, 90]}
""")


def judged(relation, rows, **columns):
    nested = pa.array([{"t": t, "m": m} for t, m in rows], TYPE)
    frame = to_pandas(pa.table({"curve": nested} | columns))
    return holds(relation, frame, {}).tolist()


def known(values):
    return [v for v in values if v is not None and not math.isnan(v)]


@settings(max_examples=60)
@given(ROWS)
def test_of_each_row_they_say_what_python_says(rows):
    assert judged("count(curve) >= 0", rows) == [len(t) == len(m) for t, m in rows]
    assert judged("complete(curve)", rows) == [len(known(t)) == len(t) for t, _ in rows]
    ascending = [all(a <= b for a, b in itertools.pairwise(t)) if known(t) == t else None for t, _ in rows]
    said = judged("ascending(curve, 't')", rows)
    assert all(a in (s, None) for a, s in zip(ascending, said, strict=True))
    least = [min(known(t), default=None) for t, _ in rows]
    assert judged("smallest(curve, 't') >= 0", rows) == [x is not None and x >= 0 for x in least]
    most = [max(m, default=None) for _, m in rows]
    assert judged("largest(curve, 'm') < 5", rows) == [x is not None and np.float32(x) < 5 for x in most]


def test_counts_are_compared_with_columns_and_plain_lists_count_too():
    rows = [([1.0, 2.0], [1.0, 2.0]), ([], []), ([1.0], [1.0, 2.0])]
    assert judged("count(curve) == n", rows, n=pa.array([2, 0, 1])) == [True, True, False]
    assert judged("count(list) == 2", rows, list=pa.array([[1, 2], [], [3]])) == [True, False, False]


def test_a_column_may_have_the_name_of_a_function():
    relation = "abs(separation(ra, dec, 0, 0) - separation) < 1"
    assert names_in(relation) == ("ra", "dec", "separation")
    frame = pd.DataFrame({"ra": [10.0, 10.0], "dec": [0.0, 0.0], "separation": [10.2, 20.0]})
    assert holds(relation, frame, {}).tolist() == [True, False]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 360), st.floats(-90, 90)), min_size=1, max_size=20))
def test_the_index_is_that_of_the_place_and_of_no_other(places):
    ra, dec = np.array(places).T
    index = healpix.index_of(ra, dec)
    frame = pd.DataFrame({"i": index, "ra": ra, "dec": dec})
    assert holds("i == healpix(ra, dec)", frame, {}).all()
    assert not holds("i == healpix(ra, dec)", frame.assign(i=index ^ 1), {}).any()
    assert not holds("i == healpix(ra, dec)", frame.assign(dec=np.nan), {}).any()


def test_the_declaration_of_a_table_over_the_sky_promises_its_index():
    rows = conform([{"name": n, "ra": 10.0 + n, "dec": -5.0} for n in range(4)], PLACES)
    assert INDEX_COLUMN not in str(declared_suite(PLACES))
    (expected,) = (e for e in declared_suite(PLACES, indexed=True).expectations if e.type == RELATION)
    assert expected.description == "The spatial index is that of ra, dec"
    assert (expected.severity, expected.origin) == ("critical", "declaration")
    stored = to_pandas(as_stored(rows, PLACES))
    assert holds(expected.kwargs["relation"], stored, {}).all()
    moved = stored.assign(ra=[10.0, 11.0, 15.0, 13.0])
    assert holds(expected.kwargs["relation"], moved, {}).tolist() == [True, True, False, True]


def test_lookups_add_up_and_take_extremes():
    here = pd.DataFrame({"field": [1, 2, 3], "kept": ["a", "b", "c"]})
    there = pa.table({"of": [1, 1, 2], "n": [3, 4, 5], "t": [2.0, 1.0, None], "night": ["1", "2", "3"]})
    lookups = [
        Lookup.model_validate({"column": name, "from": "there", "by": ["field=of"], **what})
        for name, what in {
            "rows": {}, "total": {"sum": "n"}, "first": {"smallest": "t"}, "night": {"largest": "night"},
        }.items()
    ]  # fmt: skip
    joined = add_lookups(here, lookups, {"there": there}, subject="here")
    assert joined["rows"].tolist() == [2, 1, 0]
    assert joined["total"].tolist() == [7, 5, 0]
    assert joined["first"].tolist()[0] == 1.0
    assert joined["first"].isna().tolist() == [False, True, True]
    assert joined["night"].tolist()[:2] == ["2", "3"]
    assert joined["kept"].tolist() == ["a", "b", "c"]
    assert list(here.columns) == ["field", "kept"]


def test_a_lookup_does_one_thing():
    with pytest.raises(ValueError, match="one thing only"):
        Lookup.model_validate({"column": "x", "from": "t", "by": ["a"], "take": "b", "sum": "c"})
