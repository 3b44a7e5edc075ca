"""A good difference passes, a bad one fails, and the reason names the metric, its value and its cut."""

import numpy as np
import pytest
from difference_builders import make_pair, nearest, sides

from zsds_tasks.science.candidates.detect import DetectConfig, detect
from zsds_tasks.science.difference.align import AlignConfig
from zsds_tasks.science.difference.assess import (
    AssessConfig,
    Cut,
    judge,
    limiting_magnitude,
    measure_difference,
)
from zsds_tasks.science.difference.subtract import DifferenceConfig, subtract

CONFIG = DifferenceConfig(align=AlignConfig(brightest_mag=12.0, faintest_mag=20.0))
CUTS = AssessConfig()


def assess(pair, **changes):
    made = subtract(*sides(pair, **changes), CONFIG)
    found = detect(made.subtraction.score, DetectConfig()).brighter_than(5.0)
    scores = found.score[found.sign > 0], found.score[found.sign < 0]
    return measure_difference(made, scores, CUTS)


@pytest.fixture(scope="module")
def good():
    return assess(make_pair(170, stars=400, factor=1.4))


def test_a_good_difference_passes(good):
    verdict = judge(good, CUTS)
    assert verdict.status == "pass", verdict.reasons
    assert verdict.reasons == ()
    assert good.overlap == 1.0
    assert good.gain_over_zero_points == pytest.approx(1.0, abs=0.02)
    assert good.score_scatter == pytest.approx(1.0, abs=0.05)
    assert good.star_residual < 0.02
    assert good.n_matches >= 20
    assert good.noise == pytest.approx(np.hypot(8.0, 2.5), rel=0.02)
    assert next(iter(good.as_dict())) == "overlap"


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("overlap", 0.6, "warn"),
        ("overlap", 0.4, "fail"),
        ("gain_over_zero_points", 1.07, "warn"),
        ("gain_over_zero_points", 0.85, "fail"),
        ("registration_px", 0.4, "warn"),
        ("registration_px", 0.7, "fail"),
        ("score_scatter", 1.2, "warn"),
        ("score_scatter", 0.75, "fail"),
        ("level", 0.2, "warn"),
        ("level", 0.31, "fail"),
        ("candidates", 1001, "warn"),
        ("candidates", 5001, "fail"),
        ("positive_over_negative", 0.4, "warn"),
        ("positive_over_negative", 5.5, "fail"),
        ("star_residual", 0.03, "warn"),
        ("star_residual", 0.06, "fail"),
        ("diffmaglim", 17.4, "fail"),
        ("below_field_limit", 1.1, "warn"),
    ],
)
def test_each_metric_has_its_cuts(good, name, value, status):
    bad = type(good)(**{**good.as_dict(), name: value})
    verdict = judge(bad, CUTS)
    assert verdict.status == status
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(f"{name} {value:.4g}, passes")


def test_an_unusable_input_fails_and_unknown_metrics_say_nothing(good):
    assert judge(good, CUTS, inputs_usable=False).status == "fail"
    unknown = type(good)(**{**good.as_dict(), "positive_over_negative": np.nan, "star_residual": np.nan})
    assert judge(unknown, CUTS).status == "pass"
    assert Cut(pass_high=1.0).status(np.nan) == "warn"


def test_wrong_noise_wrong_scale_and_wrong_sky_show():
    pair = make_pair(171, stars=400)
    science, reference = sides(pair)
    loud = type(science)(**{**vars(science), "noise": type(science.noise).constant(4.0, pair.new.shape, 64)})
    made = subtract(loud, reference, CONFIG)
    metrics = measure_difference(made, (np.empty(0), np.empty(0)), CUTS)
    assert judge(metrics, CUTS).reasons[0].startswith("score_scatter 1.")
    off = type(science)(**{**vars(science), "zero_point": 25.7})
    metrics = measure_difference(subtract(off, reference, CONFIG), (np.empty(0), np.empty(0)), CUTS)
    assert "gain_over_zero_points" in judge(metrics, CUTS).reasons[0]


def test_half_of_the_sources_at_the_limit_are_found():
    hits = total = 0
    for seed in range(4):
        pair = make_pair(172 + seed, stars=300, galaxies=0, transients=0, brightest=2e4)
        made = subtract(*sides(pair), CONFIG)
        flux = 10 ** (0.4 * (made.zero_point - limiting_magnitude(made.subtraction, made.zero_point, CUTS)))
        settings = {"stars": 0, "galaxies": 0, "transients": 200, "transient_flux": (flux, flux * 1.0001)}
        pair = make_pair(172 + seed, **settings)
        made = subtract(*sides(pair), CONFIG, alignment=made.alignment)
        found = detect(made.subtraction.score, DetectConfig()).brighter_than(5.0)
        hits += (nearest(pair.tx, pair.ty, found.x, found.y)[1] < 1.5).sum()
        total += len(pair.tx)
    assert hits / total == pytest.approx(0.5, abs=0.08)
