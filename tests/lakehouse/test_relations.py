"""Relations between columns: what they may say, and that they say it of the right rows."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.errors import DeclarationError
from zsds_tasks.lakehouse.relations import holds, names_in, parse_relation


def judged(relation, constants=None, /, **columns):
    return holds(relation, pd.DataFrame(columns), constants or {}).tolist()


@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(1, 4), st.integers(0, 399)), min_size=1, max_size=30)
)
def test_a_relation_is_what_python_says_of_each_row(rows):
    ccdid, qid, rcid = (np.array(values, dtype=np.int16) for values in zip(*rows, strict=True))
    expected = [r == 4 * (c - 1) + q - 1 for c, q, r in rows]
    assert judged("rcid == 4 * (ccdid - 1) + qid - 1", ccdid=ccdid, qid=qid, rcid=rcid) == expected


def test_narrow_integers_do_not_overflow():
    nid = pd.array([650], dtype="int16")
    assert judged("nid * 100000 == 65000000", nid=nid) == [True]
    assert judged("fid + 100 == 227", fid=np.array([127], np.int8)) == [True]


@given(st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=20))
def test_nulls_follow_three_valued_logic(values):
    column = pd.array(values, dtype="Int16")
    assert judged("isnull(x) or x >= 0", x=column) == [v is None or v >= 0 for v in values]
    assert judged("x >= 0", x=column) == [v is not None and v >= 0 for v in values]
    assert judged("not isnull(x) and x < 0", x=column) == [v is not None and v < 0 for v in values]


def test_nan_never_satisfies_a_comparison():
    assert judged("x <= 1", x=[0.0, np.nan, 2.0]) == [True, False, False]


def test_chains_membership_and_texts():
    assert judged("low <= x < high", {"low": 1, "high": 3}, x=[0, 1, 2, 3]) == [False, True, True, False]
    assert judged("kind in kinds", {"kinds": ("b", "d")}, kind=["b", "o"]) == [True, False]
    assert judged("kind not in ('b', 'd')", kind=["b", "o"]) == [False, True]
    assert judged("ends_with(path, name)", path=["a/b", "a/c"], name=["b", "b"]) == [True, False]
    assert judged("length(name) == 2", name=["ab", "abc"]) == [True, False]
    assert judged("number(text) % 10 == 3", text=["13", "14"]) == [True, False]
    assert judged("-x == 1", x=[-1, 1]) == [True, False]


def test_times_and_angles():
    moments = pd.Series([dt.datetime(2018, 10, 13, 12, tzinfo=dt.UTC), None], dtype="datetime64[us, UTC]")
    assert judged("mjd(t) == 58404.5", t=moments) == [True, False]
    assert judged("abs(separation(ra, dec, 0, 0) - 1) < 1e-9", ra=[359.0, 0.0], dec=[0.0, -2.0]) == [
        True,
        False,
    ]
    assert judged("abs(sind(x) - 0.5) < 1e-12", x=[30.0, 31.0]) == [True, False]


def test_a_relation_of_constants_alone_holds_for_every_row_or_none():
    assert judged("limit > 1", {"limit": 2}, x=[1, 2]) == [True, True]


def test_no_rows():
    assert judged("x > 1", x=np.array([], dtype=float)) == []


def test_names_come_in_order_of_appearance_without_functions():
    assert names_in("abs(obsjd - obsmjd) < limit and obsjd > 0") == ("obsjd", "obsmjd", "limit")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x ==", "not a relation"),
        ("__import__('os').system('true')", "calls an unknown function"),
        ("open('file') == 1", "calls an unknown function"),
        ("abs(x, key=1) == 1", "calls an unknown function"),
        ("[y for y in x]", "has no place"),
        ("x ** 9 == 1", "Pow has no place"),
        ("x.real == 1", "Attribute has no place"),
        ("(lambda: 1)() == x", "calls an unknown function"),
        ("x[0] == 1", "Subscript has no place"),
    ],
)
def test_what_is_no_relation_is_refused(text, reason):
    with pytest.raises(DeclarationError, match=reason):
        parse_relation(text)


def test_an_unknown_name_is_named():
    with pytest.raises(DeclarationError, match="'y' is neither a column nor a constant"):
        judged("x == y", x=[1])


def test_logarithms_are_open_where_there_is_none():
    assert judged("log10(x) == 2", x=[100.0, 10.0, 0.0, -1.0]) == [True, False, False, False]
    assert judged("isnull(log10(x))", x=[100.0, 0.0, -1.0]) == [False, True, True]
