"""Epochs of a reference: the cuts of reference section 5, each with its reason, whatever the order."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.science.reference.config import ReplacementConfig, SelectionConfig
from zsds_tasks.science.reference.selection import Candidate, Strength, select_epochs, strength_of, why_better

GOOD = Candidate(
    pid=0, night="20251012", status=1, infobits=0, fwhm_arcsec=2.0, maglimit=20.5, zero_point=26.2,
    background=10.0, airmass=1.2, astrometric_rms_arcsec=0.05,
)  # fmt: skip


def alike(n, per_night=5, **changes):
    """Return epochs that differ in number and night only."""
    return [
        dataclasses.replace(GOOD, pid=k, night=f"202510{10 + k // per_night}", **changes) for k in range(n)
    ]


def various(seed, n):
    random = np.random.default_rng(seed)
    return [
        Candidate(
            pid=k, night=f"202510{10 + random.integers(12)}", status=int(random.random() < 0.95),
            infobits=int(random.random() < 0.05) * 8, fwhm_arcsec=random.gamma(30) / 15,
            maglimit=20.5 + 0.25 * random.normal(), zero_point=26.2 - 0.15 * random.exponential(),
            background=random.gamma(5), airmass=float(random.choice([np.nan, random.uniform(1, 2)])),
            astrometric_rms_arcsec=random.uniform(0.02, 0.11),
        )
        for k in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": 0}, "status 0"),
        ({"infobits": 1 << 25}, "infobits 33554432"),
        ({"fwhm_arcsec": math.nan, "maglimit": math.nan}, "no FWHM, limit"),
        ({"fwhm_arcsec": 1.4}, "FWHM 1.40 not 1.5 to 3.5 arcsec"),
        ({"fwhm_arcsec": 3.6}, "FWHM 3.60 not 1.5 to 3.5 arcsec; FWHM 3.60 arcsec, over the 70% of 2.00"),
        ({"fwhm_arcsec": 2.1}, "FWHM 2.10 arcsec, over the 70% of 2.00"),
        ({"maglimit": 20.15}, "limit 20.15, under 20.20"),
        ({"zero_point": 25.8}, "zero point 25.80, under 25.90"),
        ({"background": 11.0}, "background 11, over the 75% of 10"),
        ({"airmass": 1.9}, "airmass 1.90, over 1.8"),
        ({"astrometric_rms_arcsec": 0.12}, "astrometric RMS 0.120 arcsec, over 0.1"),
    ],
)
def test_each_cut_refuses_with_its_reason(change, reason):
    epochs = alike(20)
    epochs[3] = dataclasses.replace(epochs[3], **change)
    found = select_epochs(epochs)
    assert found.refused == {3: reason}
    assert found.is_enough
    assert len(found.chosen) == 19


@pytest.mark.parametrize(
    "change",
    [{"fwhm_arcsec": 1.51}, {"maglimit": 20.21}, {"zero_point": 25.91}, {"airmass": 1.8},
     {"airmass": math.nan}, {"astrometric_rms_arcsec": 0.1}, {"background": 0.0}],
)  # fmt: skip
def test_what_just_passes_passes(change):
    epochs = alike(20)
    epochs[3] = dataclasses.replace(epochs[3], **change)
    assert select_epochs(epochs).refused == {}


def test_numbers_of_frames_and_nights():
    assert select_epochs(alike(14)).shortfall == "14 frames, 15 needed"
    assert select_epochs(alike(15)).is_enough
    config = SelectionConfig(max_per_night=20)
    assert select_epochs(alike(16, per_night=8), config).shortfall == "of 2 nights, 3 needed"
    assert select_epochs([]).shortfall == "0 frames, 15 needed; of 0 nights, 3 needed"
    crowded = select_epochs(alike(27, per_night=9))
    assert len(crowded.chosen) == 15
    assert set(crowded.refused.values()) == {f"5 deeper ones of night 202510{d}" for d in (10, 11, 12)}
    many = select_epochs(alike(60))
    assert len(many.chosen) == 40
    assert set(many.refused.values()) == {"40 deeper ones"}
    few = SelectionConfig(min_frames=3, min_nights=1)
    assert select_epochs(alike(3), few).is_enough


def test_the_deepest_come_first():
    epochs = [dataclasses.replace(e, maglimit=20.5 + 0.01 * (e.pid % 7)) for e in alike(60)]
    found = select_epochs(epochs, SelectionConfig(max_frames=20))
    limits = [next(e.maglimit for e in epochs if e.pid == pid) for pid in found.chosen]
    assert limits == sorted(limits, reverse=True)
    assert min(limits) >= max(e.maglimit for e in epochs if e.pid in found.refused) - 1e-9


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 80), st.booleans())
def test_all_are_chosen_or_refused_and_order_does_not_matter(seed, n, readmit):
    epochs = various(seed, n)
    config = SelectionConfig(readmit=readmit)
    found = select_epochs(epochs, config)
    assert sorted([*found.chosen, *found.refused]) == list(range(n))
    assert all(found.refused.values())
    chosen = [e for e in epochs if e.pid in found.chosen]
    assert all(e.status == 1 and e.infobits == 0 and 1.5 <= e.fwhm_arcsec <= 3.5 for e in chosen)
    assert len(chosen) <= 40
    assert all(sum(e.night == night for e in chosen) <= 5 for night in {e.night for e in chosen})
    assert found.is_enough == (len(chosen) >= 15 and len({e.night for e in chosen}) >= 3)
    np.random.default_rng(seed).shuffle(epochs)
    assert select_epochs(epochs, config) == found


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_readmission_only_helps(seed, n):
    epochs = various(seed, n)
    strict, kind = select_epochs(epochs), select_epochs(epochs, SelectionConfig(readmit=True))
    assert set(strict.chosen) <= set(kind.chosen) or len(kind.chosen) >= 15
    if strict.is_enough:
        assert kind == strict
    for pid in set(kind.chosen) - set(strict.chosen):
        reasons = strict.refused[pid].split("; ")
        assert all("over the 7" in r or "deeper ones" in r for r in reasons)


def test_a_product_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match=r"products \[0\]"):
        select_epochs([GOOD, GOOD])


def test_configuration_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="at most 5 frames"):
        SelectionConfig(max_frames=5)
    with pytest.raises(ValueError, match="FWHM from 4"):
        SelectionConfig(least_fwhm_arcsec=4)


def test_expected_depth_of_a_stack():
    found = strength_of(alike(15))
    assert found.depth == pytest.approx(20.5 + 1.25 * math.log10(15))  # 1.47 mag
    assert found.fwhm_arcsec == pytest.approx(2.0)
    deep = dataclasses.replace(GOOD, maglimit=22.0, fwhm_arcsec=1.5)
    assert strength_of([GOOD, deep]).fwhm_arcsec < 1.55
    assert math.isnan(strength_of([]).depth)


@pytest.mark.parametrize(
    ("depth", "fwhm", "reason"),
    [
        (22.0, 2.0, ""), (22.3, 2.0, ""), (22.45, 2.0, "0.45 mag deeper"), (22.45, 2.2, ""),
        (21.95, 1.68, "FWHM 0.84 of the present 2.00 arcsec"), (21.8, 1.6, ""), (22.0, 1.8, ""),
        (22.6, 1.6, "0.60 mag deeper; FWHM 0.80 of the present 2.00 arcsec"),
    ],
)  # fmt: skip
def test_when_a_new_one_is_clearly_better(depth, fwhm, reason):
    assert why_better(Strength(22.0, 2.0, 15), Strength(depth, fwhm, 15)) == reason


def test_nothing_is_clearly_better_than_itself_or_in_a_circle():
    random = np.random.default_rng(3)
    config = ReplacementConfig()
    for _ in range(300):
        one, other = (Strength(random.uniform(21, 23), random.uniform(1.5, 3), 15) for _ in range(2))
        assert not why_better(one, one, config)
        assert not (why_better(one, other, config) and why_better(other, one, config))
