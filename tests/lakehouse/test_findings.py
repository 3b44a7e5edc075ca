"""Findings on parts of a table, put together."""

from zsds_tasks.lakehouse.findings import EXAMPLES, Finding, TableCheck, off, put_together
from zsds_tasks.lakehouse.suites import Expected

WHOLE = Expected(type="expect_rows_to_satisfy", kwargs={"relation": "x > 0"}, description="x is positive")
OTHER = Expected(type="expect_rows_to_satisfy", kwargs={"relation": "y > 0"}, description="y is positive")


def finding(expected, rows, *values):
    examples = tuple({"x": value} for value in values)
    observed = off(len(values), rows, values) if values else None
    return Finding(expected, not values, rows, len(values), observed, examples, values)


def parts(*findings):
    return [TableCheck("t", 3, each.rows, (each, finding(OTHER, each.rows))) for each in findings]


def test_rows_and_rows_off_are_added_up_and_some_examples_kept():
    whole = put_together(
        parts(finding(WHOLE, 10), finding(WHOLE, 20, "a", "b", "c"), finding(WHOLE, 5, "b", "d", "e"))
    )
    assert (whole.table, whole.version, whole.rows) == ("t", 3, 35)
    broken, fine = whole.findings
    assert (broken.success, broken.rows, broken.unexpected) == (False, 35, 6)
    assert broken.observed == "6 of 35 rows, such as a; b; c"
    assert len(broken.examples) == EXAMPLES
    assert (fine.success, fine.rows, fine.unexpected, fine.observed) == (True, 35, 0, None)


def test_one_part_is_the_whole():
    (part,) = parts(finding(WHOLE, 20, "a"))
    assert put_together([part]) == part


def test_what_could_not_be_evaluated_stays_told():
    wrong = Finding(
        WHOLE, success=False, rows=7, unexpected=7, observed="could not be evaluated: no column x"
    )
    (broken, _) = put_together(parts(finding(WHOLE, 3), wrong)).findings
    assert broken.observed == "could not be evaluated: no column x"
    assert (broken.rows, broken.unexpected) == (10, 7)
