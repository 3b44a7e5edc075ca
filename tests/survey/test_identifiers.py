from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.survey.identifiers import (
    CandidateId,
    ExposureId,
    LightCurveId,
    ProductId,
    ReferenceId,
)
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, from_mjd, mjd

ZERO = dt.date(2017, 1, 1)
exposures = st.builds(ExposureId, st.integers(1, 9_000), st.integers(0, 99_999))
products = st.builds(ProductId, exposures, st.integers(0, 63), st.integers(0, 99))
candidates = st.builds(CandidateId, products, st.integers(0, 99), st.booleans(), st.integers(0, 4_999))
references = st.builds(ReferenceId, st.integers(1, 999_999), st.integers(1, 9), st.integers(0, 99))
lightcurves = st.builds(
    LightCurveId,
    st.integers(1, 999_999),
    st.integers(1, 9),
    st.integers(1, 99),
    st.integers(1, 4),
    st.integers(0, 10**8 - 1),
)
identifiers = st.one_of(exposures, products, candidates, references, lightcurves)


@given(identifiers)
def test_every_identifier_is_read_back_from_its_number_and_its_digits(identifier):
    assert type(identifier).parse(int(identifier)) == identifier
    assert type(identifier).parse(str(identifier)) == identifier


@given(identifiers)
def test_every_identifier_fits_a_signed_64_bit_integer(identifier):
    assert 0 <= int(identifier) < 2**63


@given(st.lists(exposures, min_size=2, max_size=2))
def test_order_of_exposures_is_order_of_numbers(pair):
    first, second = pair
    assert (first < second) == (int(first) < int(second))


@given(st.lists(products, min_size=2, max_size=2))
def test_order_of_products_is_order_of_numbers(pair):
    first, second = pair
    assert (first < second) == (int(first) < int(second))


@given(
    st.datetimes(
        min_value=dt.datetime(2017, 1, 2),  # noqa: DTZ001 - hypothesis wants naive bounds
        max_value=dt.datetime(2041, 1, 1),  # noqa: DTZ001 - the same
        timezones=st.just(dt.UTC),
    )
)
def test_expid_follows_the_rule(instant):
    identifier = ExposureId.of(instant, ZERO)
    assert identifier.nid == (instant.date() - ZERO).days
    # The rule in floating point, which may lose the last digit at a boundary.
    assert abs(identifier.fraction - (mjd(instant) % 1) * 1e5) < 1 + 1e-4


@pytest.mark.parametrize(
    ("identifier", "number"),
    [
        (ExposureId(566, 48128), 56648128),
        (ProductId(ExposureId(2475, 43385), 0), 2475433850015),
        (
            CandidateId(ProductId(ExposureId(2475, 43385), 0), 1, is_positive=True, row=41),
            2475433850015015041,
        ),
        (ReferenceId(505, 1, 0), 505120100),
        (LightCurveId(686, 1, 3, 4, 67717), 686103400067717),
    ],
)
def test_identifiers_of_real_products(identifier, number):
    assert int(identifier) == number
    assert type(identifier).parse(number) == identifier


def test_expid_of_a_real_exposure():
    assert int(ExposureId.of(dt.datetime(2018, 7, 21, 11, 33, 2, 600000, tzinfo=dt.UTC), ZERO)) == 56648128


@pytest.mark.parametrize("text", ["", "-1", "12a", "\uff11\uff12", "9" * 25, "1.5"])
def test_what_is_not_a_number_is_refused(text):
    with pytest.raises(UnusableInputError, match="digits only"):
        ExposureId.parse(text)


def test_numbers_out_of_range_are_named():
    with pytest.raises(UnusableInputError, match="rcid must be 0 to 99"):
        ProductId(ExposureId(1, 1), 100)
    with pytest.raises(UnusableInputError, match="the digits 120"):
        ReferenceId.parse(505121100)


def test_candids_and_references_of_real_alerts(real_data):
    import pyarrow.parquet as pq

    index = pq.read_table(real_data / "alerts" / "ztf_alerts_index_dev.parquet").to_pylist()
    # The 1.x packets are prototypes from before the survey's zero: their night numbers are negative. Alerts
    # that are not packets as issued have had their time changed by a broker's replay.
    rows = [row for row in index if row["form"] == "packet" and not row["schemavsn"].startswith("1.")]
    assert len(rows) > 500
    for row in rows:
        identifier = CandidateId.parse(row["candid"])
        assert int(identifier) == row["candid"]
        assert identifier.is_positive == row["isdiffpos"]
        assert int(identifier.product) == row["pid"]
        assert identifier.product.rcid == row["rcid"]
        assert ExposureId.of(from_mjd(row["jd"] - JD_OF_MJD_ZERO), ZERO) == identifier.product.exposure
