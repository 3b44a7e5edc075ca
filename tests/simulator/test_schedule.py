"""What a night holds, when, and that it depends on nothing but the seed."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter

import pytest
from scene_builders import INCLUDE, NIGHT, light_config, make_night, make_world, science

from zsds_tasks.errors import ConfigurationError, NothingToDoError
from zsds_tasks.simulator.observing.schedule import dark_hours, plan_night
from zsds_tasks.survey.nights import ObservingNight


@pytest.fixture(scope="module")
def full():
    return make_night(exposures=40)


def test_a_mini_night_has_every_kind_of_frame(full):
    kinds = Counter(e.imgtypecode for e in full.exposures)
    assert kinds == {"b": 10, "f": 33, "c": 1, "p": 1, "e": 1, "o": 40}


def test_every_led_is_lit_at_two_exposure_times(full):
    flats = {(e.fid, e.led, e.exptime_s) for e in full.exposures if e.imgtypecode == "f"}
    survey = make_world().site.survey
    leds = {(f.fid, led, t) for f in survey.filters for led in f.leds for t in (10.0, 2.5)}
    assert flats == leds
    assert all(15_000 < e.lamp_dn_per_s * 10 < 35_000 for e in full.exposures if e.led)


def test_fields_are_revisited_in_pairs_half_an_hour_to_an_hour_apart(full):
    visits = {}
    for e in science(full):
        visits.setdefault(e.field, []).append((e.start, e.fid))
    assert all(len(v) >= 2 for v in visits.values())
    for times in visits.values():
        gaps = [(b[0] - a[0]).total_seconds() / 60 for a, b in itertools.pairwise(times)]
        assert any(30 <= gap <= 65 for gap in gaps)
        assert {1, 2} <= {fid for _, fid in times}


def test_frames_never_overlap_and_are_in_order(full):
    ordered = full.exposures
    for a, b in itertools.pairwise(ordered):
        assert b.start >= a.shutter_closed + dt.timedelta(seconds=8)


def test_identifiers_and_names_are_unique(full):
    survey = make_world().site.survey
    assert len({e.expid for e in full.exposures}) == len(full.exposures)
    assert len({str(e.raw_name(survey, 1)) for e in full.exposures}) == len(full.exposures)
    assert [e.file_epoch for e in full.exposures] == sorted(e.file_epoch for e in full.exposures)
    assert all(0 < (e.start - e.file_epoch).total_seconds() < 50 for e in full.exposures)


def test_science_is_dark_and_high_and_calibrations_are_in_the_afternoon(full):
    assert all(e.airmass < 2.5 and e.sun_altitude_deg < -11.9 for e in science(full))
    assert full.exposures[0].start.time() == dt.time(0, 10)
    assert all(e.sun_altitude_deg > 0 for e in full.exposures if e.imgtypecode in "bf")


def test_engineering_frames_belong_to_no_science_programme(full):
    survey = make_world().site.survey
    for e in full.exposures:
        assert survey.is_science(e.imgtypecode, e.programid) == (e.imgtypecode == "o")
    assert {e.programid for e in science(full)} == {1, 2, 3}


def test_the_same_seed_plans_the_same_night_and_another_seed_another():
    first, again, other = (make_world(seed=s).night(NIGHT, exposures=5).exposures for s in (5, 5, 6))
    assert first == again
    assert first != other


def test_cutting_a_night_short_changes_nothing_before_the_cut():
    long, short = (science(make_night(exposures=n)) for n in (24, 7))
    assert short == long[:7]


def test_no_science_exposures_leave_the_calibrations():
    night = make_night(exposures=0)
    assert {e.imgtypecode for e in night.exposures} == {"b", "f"}


def test_the_real_camera_is_scheduled_on_its_own_grid():
    night = make_night("ztf", exposures=50)
    assert len(science(night)) == 50
    assert len({e.field for e in science(night)}) == 40
    starts = [e.start for e in science(night)][:40]
    assert {(b - a).total_seconds() for a, b in itertools.pairwise(starts)} == {45.0}


def test_a_season_without_fields_says_so():
    site, spring = make_world().site, ObservingNight(dt.date(2026, 5, 1))
    one = site.fields.model_copy(update={"fields": site.fields.fields[:1]})
    with pytest.raises(NothingToDoError, match=r"20260501 of camera mini.*no field.*another season"):
        plan_night(type(site)(site.camera, site.survey, one), light_config().schedule, 1, spring)


def test_dark_hours_are_where_the_sun_says():
    dusk, dawn = dark_hours(make_world().site, light_config().schedule, NIGHT)
    assert (dusk.date(), dawn.date()) == (NIGHT.date, NIGHT.date)
    assert 10 < (dawn - dusk).total_seconds() / 3600 < 12.5


def test_declared_leds_all_have_a_wavelength():
    survey = make_world().site.survey
    assert INCLUDE.exists()
    leds = {led for f in survey.filters for led in f.leds}
    assert leds == set(light_config().schedule.led_wavelength_nm)


def test_a_campaign_spends_the_night_on_its_fields_and_filters():
    world = make_world()
    campaign = world.config.schedule.campaigns["deep"]
    made = science(world.night(NIGHT, campaign="deep"))
    visits = Counter((e.field, e.fid) for e in made)
    assert len(made) == campaign.exposures
    assert {field for field, _ in visits} == set(campaign.fields)
    assert {fid for _, fid in visits} == {1, 2}
    assert min(visits.values()) >= 6  # a reference of the mini camera needs 4, a variable in two nights 10
    starts = sorted(e.start for e in made if (e.field, e.fid) == (campaign.fields[0], 1))
    apart = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
    assert min(apart) == pytest.approx(2 * campaign.pass_interval_s, abs=60)


def test_a_campaign_changes_no_object_of_the_sky():
    world = make_world()
    whole, deep = world.night(NIGHT, exposures=24), world.night(NIGHT, campaign="deep", exposures=3)
    shot = science(deep)[0]
    seen = [night.scene(shot, 1).sources for night in (whole, deep)]
    # What moves depends on the night's exposures: fast asteroids are planted into them.
    one, other = (
        [(k, m) for k, m, v in zip(s.object_id, s.mag, s.rate_east, strict=True) if v == 0] for s in seen
    )
    assert one == other


def test_an_unknown_campaign_and_a_field_of_another_grid_are_refused():
    with pytest.raises(ConfigurationError, match=r"no campaign is called 'wide'.*deep"):
        make_world().night(NIGHT, campaign="wide")
    with pytest.raises(ConfigurationError, match="grid mini has no field 77"):
        make_world().site.with_fields((1, 77))
