"""Measures of candidates beside those that ZTF issued for the same pixels."""

import numpy as np
import pytest
import real_alerts
import real_stamps
from real_alerts import alerts, measured


@pytest.fixture(scope="module")
def sample(real_data):
    return alerts(real_data, every=2, issued=False)


@pytest.fixture(scope="module")
def both(sample):
    """For each measure ours and theirs (N)."""
    ours = [measured(alert) for alert in sample]
    return {
        name: (np.array([row[name] for row in ours]), np.array([float(a.record[name]) for a in sample]))
        for name in ("magpsf", "magap", "magapbig", "sigmagap", "aimage", "bimage", "elong", "nneg", "sumrat")
    }


def spread(values):
    return 1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values)))


def test_identities_of_the_record_hold_on_issued_packets(sample):
    for record in (alert.record for alert in sample):
        assert record["magdiff"] == pytest.approx(record["magap"] - record["magpsf"], abs=1e-4)
        assert record["magfromlim"] == pytest.approx(record["diffmaglim"] - record["magap"], abs=1e-4)
        assert record["elong"] == pytest.approx(record["aimage"] / record["bimage"], rel=1e-4)
        assert record["aimagerat"] == pytest.approx(record["aimage"] / record["fwhm"], rel=1e-4)
        assert record["seeratio"] <= 2.001
        assert -0.4 <= record["magdiff"] <= 0.75


def test_stamps_are_bright_in_the_middle_whatever_the_sign(sample):
    for alert in sample:
        assert alert.stamps["difference"][28:35, 28:35].sum() > 0
    assert {alert.record["isdiffpos"] in ("t", "1") for alert in sample} == {True, False}


@pytest.mark.parametrize(
    ("name", "most_off", "most_spread"),
    [
        ("magap", 0.01, 0.08), ("magapbig", 0.015, 0.12), ("magpsf", 0.05, 0.10), ("aimage", 0.08, 0.12),
        ("bimage", 0.07, 0.10), ("elong", 0.01, 0.03), ("sumrat", 0.005, 0.02),
    ],
)  # fmt: skip
def test_measures_are_those_issued(both, name, most_off, most_spread):
    ours, theirs = both[name]
    assert abs(np.nanmedian(ours - theirs)) < most_off
    assert spread(ours - theirs) < most_spread


def test_negative_pixels_are_counted_alike(both):
    ours, theirs = both["nneg"]
    assert np.mean(ours == theirs) > 0.98


def test_error_of_the_aperture(both):
    ours, theirs = both["sigmagap"]
    assert 0.85 < np.nanmedian(ours / theirs) < 1.05


def test_a_local_sky_would_not_give_the_apertures_issued(sample, both):
    config = real_alerts.MeasureConfig(aperture_sky=True)
    local = np.array([measured(alert, config)["magap"] for alert in sample])
    ours, theirs = both["magap"]
    assert spread(local - theirs) > 1.1 * spread(ours - theirs)


def test_differences_made_again_from_stamps(sample):
    calibrated = [alert for alert in sample if alert.record.get("magzpsci")]
    some = [a for a in calibrated if a.record["sigmapsf"] < 0.11 and a.record["distnr"] > 3]
    found = np.array([real_stamps.agreement(alert) for alert in some])
    assert len(found) >= 15
    alike, ratio, noise = np.nanmedian(found, axis=0)
    assert alike > 0.97
    assert ratio == pytest.approx(1.0, abs=0.03)
    assert noise == pytest.approx(1.0, abs=0.1)
