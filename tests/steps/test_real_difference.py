"""A crowded field seen on five nights: registered, stacked, subtracted; what changed in it comes out."""

import numpy as np
import pytest
import real_event
import real_pairs

STACKED, LATER = ("I0011", "I0018", "I0021"), ("I0056", "I0098", "I0173")


@pytest.fixture(scope="module")
def night(real_data):
    frames, reference = real_event.frames_and_reference(real_data, STACKED + LATER, STACKED)
    return {frame.name[-5:]: frame for frame in frames}, reference


@pytest.fixture(scope="module")
def epochs(night):
    frames, reference = night
    return {name: real_event.epoch_of(frames[name], reference) for name in LATER}


def test_frames_are_registered_on_their_own_stars(night):
    frames, reference = night
    base = frames["I0098"]
    shifts = []
    for frame in frames.values():
        matrix, offset, _ = real_pairs.affine(frame.points, base.points)
        assert np.abs(matrix - np.eye(2)).max() < 1e-3
        shifts.append(np.hypot(*offset))
    assert max(shifts) > 50  # pointing differs
    assert len(reference.pids) == 3
    assert np.median(reference.coverage) >= 2


def test_quality_of_the_differences(epochs):
    for epoch in epochs.values():
        assert epoch.metrics.registration_px < 0.1
        assert epoch.metrics.offset_px < 0.05
        assert epoch.metrics.level < 0.1
        assert epoch.metrics.star_residual < 0.03
        assert 0.9 < epoch.metrics.score_scatter < 2.6


def test_the_event_rises_and_falls(epochs):
    before, peak, after = (epochs[name] for name in LATER)
    assert peak.is_found
    assert peak.flux - before.flux == pytest.approx(90_000, rel=0.1)
    assert peak.flux - after.flux == pytest.approx(110_000, rel=0.1)
    assert peak.flux > 40 * peak.error
