from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.survey.nights import FileFracDay, ObservingNight, from_mjd, jd, mjd, utc

ZERO = dt.date(2017, 1, 1)
instants = st.datetimes(
    min_value=dt.datetime(2017, 1, 2),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=dt.datetime(2041, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(dt.UTC),
)
dates = st.dates(min_value=ZERO, max_value=dt.date(2041, 1, 1))
hours = st.integers(0, 23)


@pytest.mark.parametrize(("date", "nid"), [("2018-04-18", 472), ("2023-10-12", 2475)])
def test_night_number_of_real_products(date, nid):
    assert ObservingNight.parse(date).nid(ZERO) == nid


@given(dates)
def test_a_night_is_read_back_from_what_it_prints(date):
    night = ObservingNight(date)
    assert ObservingNight.parse(str(night)) == night == ObservingNight.parse(date.isoformat())


@given(instants, hours)
def test_every_instant_lies_within_its_night(instant, noon):
    night = ObservingNight.containing(instant, noon)
    start, end = night.bounds(noon)
    assert start <= instant < end
    assert end - start == dt.timedelta(days=1)


@given(dates, hours)
def test_nights_follow_each_other_without_gap(date, noon):
    following = ObservingNight(date + dt.timedelta(days=1))
    assert ObservingNight(date).bounds(noon)[1] == following.bounds(noon)[0]
    assert ObservingNight(date) < following


def test_afternoon_calibrations_belong_to_the_night_they_serve():
    palomar_noon = 20
    afternoon = dt.datetime(2025, 10, 11, 23, 0, tzinfo=dt.UTC)
    morning = dt.datetime(2025, 10, 12, 12, 0, tzinfo=dt.UTC)
    assert ObservingNight.containing(afternoon, palomar_noon) == ObservingNight.containing(
        morning, palomar_noon
    )
    assert str(ObservingNight.containing(morning, palomar_noon)) == "20251012"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025",
        "2025-1012",
        "20251301",
        "20250230",
        "2025-W41-7",
        "\uff12\uff10\uff12\uff15\uff11\uff10\uff11\uff12",
    ],
)
def test_what_is_not_a_night_is_refused_by_name(text):
    with pytest.raises(UnusableInputError, match=r"not an observing night.*YYYYMMDD"):
        ObservingNight.parse(text)


@given(instants)
def test_filefracday_round_trip_and_rounding_down(instant):
    name = FileFracDay.of(instant)
    assert FileFracDay.parse(str(name)) == name
    assert name.start <= instant < name.start + dt.timedelta(seconds=0.0864, microseconds=1)
    assert FileFracDay.of(name.start) == name


@given(st.lists(instants, min_size=2, max_size=2))
def test_filefracday_keeps_the_order_of_instants(pair):
    first, second = sorted(pair)
    assert FileFracDay.of(first) <= FileFracDay.of(second)
    assert str(FileFracDay.of(first)) <= str(FileFracDay.of(second))


@pytest.mark.parametrize("text", ["2023101243372", "202310124337270", "20231332433727", "2023101243372x"])
def test_what_is_not_a_filefracday_is_refused(text):
    with pytest.raises(UnusableInputError):
        FileFracDay.parse(text)


@given(instants)
def test_mjd_is_inverted_to_a_microsecond(instant):
    assert abs(from_mjd(mjd(instant)) - instant) <= dt.timedelta(microseconds=1)


@given(instants)
def test_jd_and_mjd_differ_by_their_definition(instant):
    assert jd(instant) - mjd(instant) == pytest.approx(2_400_000.5, abs=1e-9)


def test_mjd_of_a_known_instant():
    assert mjd(dt.datetime(2000, 1, 1, 12, tzinfo=dt.UTC)) == 51544.5


def test_an_instant_without_time_zone_is_refused():
    with pytest.raises(UnusableInputError, match="no time zone"):
        utc(dt.datetime(2025, 1, 1))  # noqa: DTZ001 - the case under test
