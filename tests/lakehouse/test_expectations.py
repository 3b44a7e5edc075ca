"""Suites from declarations and by hand, run with Great Expectations on rows that keep or break them."""

import json
import re

import pyarrow as pa
import pytest

from zsds_tasks.errors import DeclarationError
from zsds_tasks.lakehouse.checks import check_rows, to_pandas
from zsds_tasks.lakehouse.datadocs import data_docs, verdict
from zsds_tasks.lakehouse.suites import Suite, declared_suite, handwritten_suite
from zsds_tasks.products.tables import conform, list_tables, load_table, parse_table
from zsds_tasks.settings import REPOSITORY

INCLUDE = REPOSITORY / "include"
DECLARATION = parse_table("""
table: frames
description: Frames.
key: [expid, rcid]
columns:
  - {name: expid, type: int64, description: Exposure., range: [0, 100]}
  - {name: rcid, type: int16, description: Channel., values: [0, 1]}
  - {name: night, type: string, description: Night., pattern: "^[0-9]{8}$"}
  - {name: level, type: float32, description: Level., nullable: true, range: [null, 10]}
  - {name: led, type: int16, description: LED., nullable: true}
  - {name: good, type: bool, description: Good., nullable: true}
  - {name: at, type: timestamp, description: When.}
  - {name: cells, type: list<float32>, description: Cells.}
""")
RIGHT = {
    "expid": 1, "rcid": 0, "night": "20181013", "level": 1.5, "led": 3, "good": True,
    "at": "2018-10-13T04:00:00", "cells": [1.0],
}  # fmt: skip
EMPTY_SUITE = Suite(name="frames", expectations=())


def frames(*changes):
    import datetime as dt

    rows = [RIGHT | {"expid": n + 1} | change for n, change in enumerate(changes)]
    for row in rows:
        row["at"] = dt.datetime.fromisoformat(row["at"]).replace(tzinfo=dt.UTC)
    return conform(rows, DECLARATION)


def suite(*expectations, lookups=()):
    return Suite.model_validate(
        {"name": "frames", "expectations": list(expectations), "meta": {"lookups": list(lookups)}}
    )


def relation(text, **more):
    return {
        "type": "expect_rows_to_satisfy",
        "kwargs": {"relation": text},
        "description": f"{text} holds",
    } | more


def broken(check):
    return {finding.expected.description: finding.unexpected for finding in check.failed}


def test_right_rows_break_nothing():
    check = check_rows(
        frames({}, {"level": None, "led": None, "good": None}), DECLARATION, EMPTY_SUITE, version=3
    )
    assert broken(check) == {}
    assert (check.table, check.version, check.rows) == ("frames", 3, 2)
    assert len(check.findings) == len(declared_suite(DECLARATION).expectations)


def test_each_promise_of_the_declaration_is_kept_by_itself():
    rows = frames({}, {"expid": 1}, {"expid": 101}, {"rcid": 7}, {"night": "2018"}, {"level": 11.0})
    assert broken(check_rows(rows, DECLARATION, EMPTY_SUITE, version=0)) == {
        "No combination of expid, rcid appears twice": 2,
        "expid is between 0 and 100": 1,
        "rcid is one of 0, 1": 1,
        "night has the form ^[0-9]{8}$": 1,
        "level is at most 10": 1,
    }


def test_types_nulls_and_missing_columns_are_found_in_tables_others_wrote():
    rows = frames({}, {})
    rows = rows.set_column(1, "rcid", rows["rcid"].cast(pa.int64()))
    rows = rows.set_column(2, "night", pa.array(["20181013", None])).drop_columns(["cells"])
    rows = rows.append_column("more", pa.array([1, 2]))
    found = check_rows(rows, DECLARATION, EMPTY_SUITE, version=0)
    by_sentence = {f.expected.description: f for f in found.failed}
    assert by_sentence["rcid is int16"].observed == "found int64"
    assert by_sentence["night is never missing"].observed.startswith("1 of 2 rows")
    assert "more" in by_sentence["The table has the declared columns and no others"].observed
    assert "could not be evaluated" in by_sentence["cells is never missing"].observed


def test_relations_lookups_and_constants():
    others = {"shots": pa.table({"expid": [1, 2, 2], "gain": [6.0, 6.1, 6.1]})}
    written = suite(
        relation("shots == 1"),
        relation("level * gain <= limit", severity="warning"),
        lookups=[
            {"column": "shots", "from": "shots", "by": ["expid"]},
            {"column": "gain", "from": "shots", "by": ["expid"], "take": "gain"},
        ],
    )
    rows = frames({}, {"level": 9.0}, {})
    check = check_rows(rows, DECLARATION, written, version=0, constants={"limit": 20}, others=others)
    assert broken(check) == {"shots == 1 holds": 2, "level * gain <= limit holds": 2}
    critical, warning = check.failed
    assert (critical.expected.severity, warning.expected.severity) == ("critical", "warning")
    assert critical.expected.origin == "suite"
    assert "shots = 2" in critical.observed
    assert {example["expid"] for example in critical.examples} == {"2", "3"}


def test_integers_stay_integers_beside_nulls():
    frame = to_pandas(frames({}, {"led": None}))
    assert str(frame["led"].dtype) == "Int16"
    assert frame["led"].tolist()[0] == 3


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (suite(relation("nothing == 1")), "names unknown nothing"),
        (suite(relation("n == 1"), lookups=[{"column": "n", "from": "no", "by": ["expid"]}]), "table 'no'"),
    ],
)
def test_a_suite_that_names_what_is_not_there_is_refused(written, reason):
    with pytest.raises(DeclarationError, match=reason):
        check_rows(frames({}), DECLARATION, written, version=0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ('{"name": "other", "expectations": []}', "name says 'other'"),
        ('{"name": "t", "expectations": [{"type": "expect_x", "kwargs": {}}]}', "description"),
        ('{"name": "t", "expectations": [], "typo": 1}', "typo"),
        (json.dumps({"name": "t", "expectations": [relation("x **")]}), "not a relation"),
        (json.dumps({"name": "t", "expectations": [relation("x > 1"), relation("x > 1")]}), "expected twice"),
        (json.dumps({"name": "t", "expectations": [relation(1)]}), "needs one"),
    ],
)
def test_a_wrong_suite_file_is_refused_by_name(tmp_path, content, reason):
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "t.json").write_text(content)
    with pytest.raises(DeclarationError, match=rf"(?s)t\.json.*{re.escape(reason)}"):
        handwritten_suite("t", tmp_path)


def test_a_table_without_a_file_has_an_empty_suite(tmp_path):
    assert handwritten_suite("t", tmp_path).expectations == ()


def test_every_committed_suite_is_of_a_declared_table_and_names_its_columns():
    tables = list_tables(INCLUDE)
    for path in sorted((INCLUDE / "expectations").glob("*.json")):
        assert path.stem in tables
        declaration, written = load_table(path.stem, INCLUDE), handwritten_suite(path.stem, INCLUDE)
        assert written.expectations
        for expected in written.expectations:
            assert expected.column is None or expected.column in declaration.names


def test_identifiers_of_expectations_do_not_repeat_in_a_table_and_do_not_change():
    for name in list_tables(INCLUDE):
        expectations = (
            *declared_suite(load_table(name, INCLUDE)).expectations,
            *handwritten_suite(name, INCLUDE).expectations,
        )
        identifiers = [expected.id for expected in expectations]
        assert len(set(identifiers)) == len(identifiers)
    assert suite(relation("x > 1")).expectations[0].id == suite(relation("x > 1")).expectations[0].id


def test_data_docs_need_no_network_and_link_only_to_themselves():
    rows = frames({}, {"night": "<b>&"})
    site = data_docs("20181013", [check_rows(rows, DECLARATION, suite(relation("expid > 1")), version=1)])
    assert set(site) == {"index.html", "frames.html", "frames.json"}
    for name, content in site.items():
        assert "http://" not in content
        assert "https://" not in content
        assert "<script" not in content
        for link in re.findall(r'(?:href|src)="([^"]+)"', content):
            assert link in {*site, "../index.html"}, name
    assert "&lt;b&gt;&amp;" in site["frames.html"]
    assert "<b>&" not in site["frames.html"]
    results = json.loads(site["frames.json"])["results"]
    assert [r["success"] for r in results].count(False) == 2
    assert "expid &gt; 1" in site["frames.html"]


def test_the_verdict_in_words():
    check = check_rows(frames({}), DECLARATION, suite(relation("expid > 1", severity="warning")), version=0)
    total = len(check.findings)
    assert verdict(check.findings) == f"{total - 1} of {total} expectations hold; 1 warning"
    assert verdict(check.findings[:3]) == "All 3 expectations hold"
