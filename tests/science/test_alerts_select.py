"""Triggering: each criterion refuses what it should, at its border and not one step inside."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_builders import real_packets

from zsds_tasks.science.alerts.select import PURE, TriggerConfig, select_alerts

GOOD = {"magpsf": 19.0, "sigmapsf": 0.1, "nbad": 0, "fwhm": 2.5, "elong": 1.1, "magdiff": 0.05, "rb": 0.5}
TYPES = {name: pa.float32() for name in GOOD} | {"nbad": pa.int32()}


def table(rows):
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()})


def verdict(**changes):
    return select_alerts(table([GOOD | changes]), TriggerConfig()).reasons[0]


@pytest.mark.parametrize(
    ("name", "inside", "outside", "reason"),
    [
        ("sigmapsf", 1.0857362 / 5.0, 1.0857362 / 4.99, "snr"),
        ("sigmapsf", 1e-4, np.nan, "snr"),
        ("magpsf", 23.5, 23.501, "magpsf"),
        ("nbad", 4, 5, "nbad"),
        ("fwhm", 7.0, 7.001, "fwhm"),
        ("elong", 1.6, 1.601, "elong"),
        ("magdiff", 0.75, 0.751, "magdiff"),
        ("magdiff", -0.4, -0.401, "magdiff"),
        ("rb", 0.0, -0.001, "rb"),
        ("fwhm", 0.5, None, "fwhm"),
        ("nbad", 0, None, "nbad"),
    ],
)
def test_borders(name, inside, outside, reason):
    assert verdict(**{name: inside}) == ""
    assert verdict(**{name: outside}) == reason


def test_a_score_is_attached_not_applied_unless_asked_for():
    assert verdict(rb=None) == ""
    asked = TriggerConfig(least_rb=0.65)
    rows = table([GOOD | {"rb": rb} for rb in (None, 0.64, 0.65, 0.99)])
    assert select_alerts(rows, asked).triggers.tolist() == [False, False, True, True]


def test_no_candidates_are_no_trouble():
    selection = select_alerts(table([]), TriggerConfig())
    assert selection.triggers.shape == (0,)
    assert set(selection.refused.values()) == {0}


values = st.fixed_dictionaries(
    {
        "magpsf": st.floats(14, 25, width=32), "sigmapsf": st.floats(0.0078125, 0.5, width=32),
        "nbad": st.integers(0, 9), "fwhm": st.floats(1, 9, width=32), "elong": st.floats(1, 2, width=32),
        "magdiff": st.floats(-1, 1, width=32), "rb": st.none() | st.floats(0, 1, width=32),
    }
)  # fmt: skip


@given(rows=st.lists(values, max_size=20))
@settings(max_examples=60)
def test_every_refusal_is_counted_once_and_the_slow_way_agrees(rows):
    selection = select_alerts(table(rows), TriggerConfig())
    for row, triggers, reason in zip(rows, selection.triggers, selection.reasons, strict=True):
        slow = (
            1.0857362 / row["sigmapsf"] >= 5
            and row["magpsf"] <= 23.5
            and row["nbad"] <= 4
            and row["fwhm"] <= 7
            and row["elong"] <= np.float32(1.6)
            and np.float32(-0.4) <= row["magdiff"] <= 0.75
        )
        assert triggers == slow == (reason == "")
    assert sum(selection.refused.values()) == len(rows) - selection.triggers.sum()
    criteria = ("snr", "magpsf", "nbad", "fwhm", "elong", "magdiff", "rb")
    assert selection.refused == {name: selection.reasons.count(name) for name in criteria}
    pure = select_alerts(table(rows), PURE)
    assert not (pure.triggers & ~selection.triggers).any(), "what is pure also triggers"


def test_nearly_all_real_alerts_would_trigger(real_data):
    """ZTF widened its band of magdiff later; all else holds for its own packets."""
    rows = [
        {name: packet["candidate"][name] for name in GOOD}
        for _, packet, _ in real_packets(real_data)
        if str(packet.get("schemavsn"))[0] in "34"
    ]
    wide = TriggerConfig(least_magdiff=-0.8, most_magdiff=1.2)
    selection = select_alerts(table(rows), wide)
    assert selection.triggers.mean() > 0.97, selection.refused
