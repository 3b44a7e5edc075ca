"""The score of candidates: met by a good pipeline, and each number sees its own fault."""

from __future__ import annotations

import json

import numpy as np
import pytest
from candidate_rows import NIGHT, with_fault, write_lake, write_sky

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.score_candidate_samples import seen_by_filter
from zsds_tasks.simulator.score_candidate_verdict import half_point
from zsds_tasks.simulator.score_candidates import alert_truth, assess_candidates, really, with_candidates

FAULTS = {
    "completeness of changes": {"lost": 0.2},
    "bogus per quadrant before scoring": {"bogus": 400},
    "flux bias of differences, mmag": {"bias": 1.05},
    "flux pull width of differences": {"sigma_factor": 0.6},
    "position pull width of differences": {"position_factor": 1.6},
    "split or merged names": {"split": True},
    "recall of transients at the threshold": {"scores": True, "missed_by_score": 0.1},
}


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("candidates"), camera="mini", workers=1)
    return settings, write_sky(settings.truth_folder)


@pytest.fixture
def assess(sky, tmp_path):
    settings, planted = sky

    def run(faults=with_fault(), **more):  # noqa: B008 - frozen
        lakehouse = open_lakehouse(settings.model_copy(update={"var": tmp_path}))
        write_lake(lakehouse, planted, faults, **more)
        return assess_candidates(lakehouse, settings.truth_folder, NIGHT)

    return run


def by_name(score):
    return {m.measure: m for m in score.measures}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_good_pipeline_meets_every_target(assess, seed):
    score = assess(with_fault(scores=True), seed=seed)
    assert [m for m in score.measures if not m.ok] == []
    found = by_name(score)
    assert found["half-completeness S/N of changes"].value == pytest.approx(5.0, abs=0.25)
    assert found["bogus per quadrant before scoring"].value == 3
    assert found["bogus per quadrant after scoring"].value == 0
    assert found["flux pull width of differences"].value == pytest.approx(1, abs=0.15)
    assert found["completeness of changes"].value > 0.95
    assert len(found) == 11


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_seen_where_it_is(assess, name):
    found = by_name(assess(with_fault(**FAULTS[name])))
    assert not found[name].ok, found[name]
    kin = {
        "completeness of changes": {"half-completeness S/N of changes"},
        "flux bias of differences, mmag": {"flux pull width of differences"},
    }
    assert {m for m, one in found.items() if not one.ok} - kin.get(name, set()) == {name}


def test_without_scores_there_is_nothing_after_scoring(assess):
    score = assess()
    assert "bogus per quadrant after scoring" not in by_name(score)
    assert score.curves["budget"]["scores"] == ""
    assert set(score.curves["budget"]["after"]) == {None}


def test_without_alerts_nothing_is_said_of_them(assess):
    found = by_name(assess(alerts=False))
    assert not {"split or merged names", "real candidates that do not trigger"} & set(found)


def test_curves_are_json_and_agree_with_the_numbers(assess):
    score = assess()
    text = json.dumps(score.curves, allow_nan=False)
    assert len(text) < 20_000
    curve = score.curves["completeness"]
    beyond = [f for s, f in zip(curve["snr"], curve["found"], strict=True) if s > 8 and f is not None]
    assert min(beyond) > 0.95
    budget = dict(zip(score.curves["budget"]["kind"], score.curves["budget"]["before"], strict=True))
    assert budget["unexplained"] == 12
    refused = dict(zip(score.curves["triggers"]["reason"], score.curves["triggers"]["bogus"], strict=True))
    assert refused["fwhm"] == 12


def test_a_report_gets_numbers_curves_and_words(assess):
    score = assess()
    report = with_candidates({"measures": [1], "curves": {"pulls": {}}, "sentence": "."}, score)
    assert report["measures"][0] == 1
    assert len(report["measures"]) == 1 + len(score.measures)
    assert set(report["curves"]) == {"pulls", "differences"}
    assert set(report["alerts"].values()) == {"transient"}


def test_alerts_are_told_apart(assess, sky, tmp_path):
    settings, _ = sky
    score = assess()
    lakehouse = open_lakehouse(settings.model_copy(update={"var": tmp_path}))
    known = alert_truth(lakehouse, settings.truth_folder, NIGHT, [int(c) for c in score.alerts])
    assert {str(c): really(row) for c, row in known.items()} == score.alerts
    assert alert_truth(lakehouse, settings.truth_folder, NIGHT, []) == {}
    assert alert_truth(lakehouse, tmp_path / "none", NIGHT, [1]) == {}


def test_nights_without_differences_or_without_truth(settings, sky, tmp_path):
    lakehouse = open_lakehouse(settings)
    score = assess_candidates(lakehouse, settings.truth_folder, NIGHT)
    assert (score.measures, score.curves, score.alerts) == ([], {}, {})
    assert with_candidates({"measures": []}, score) == {"measures": []}
    write_lake(lakehouse, sky[1], alerts=False)
    assert assess_candidates(lakehouse, tmp_path / "nothing", NIGHT).measures == []


@pytest.mark.parametrize("middle", [4.0, 5.0, 6.5])
def test_the_half_point_is_where_half_are_found(middle):
    random = np.random.default_rng(5)
    snr = random.uniform(2, 14, 3000)
    found = random.uniform(size=3000) < 1 / (1 + np.exp(-1.7 * (snr - middle)))
    half, error = half_point({"snr": snr, "found": found})
    assert abs(half - middle) < 3 * error < 0.2
    assert np.isnan(half_point({"snr": snr[:5], "found": found[:5]})[0])


@pytest.mark.parametrize("fwhm", [1.8, 2.6])
def test_a_trail_is_seen_as_a_filter_for_points_sees_it(fwhm):
    step = 0.02
    x = np.arange(-15, 15, step)
    point = np.exp(-0.5 * (x * 2.3548 / fwhm) ** 2)
    for half in (0.0, 0.3, 1.0, 2.5, 6.0):
        trail = np.abs(x) <= half if half else np.abs(x) < step / 2
        drawn = np.convolve(point, trail / trail.sum(), "same")
        expected = np.convolve(drawn, point, "same").max() / np.convolve(point, point, "same").max()
        assert seen_by_filter(np.array([half]), fwhm)[0] == pytest.approx(expected, abs=0.01)
