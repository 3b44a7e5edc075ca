"""Light curves, formats and pictures."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse_single_table
from hypothesis import given
from hypothesis import strategies as st
from lake_builder import SIGMA

from zsds_tasks.catalog import flat_curves, period_of
from zsds_tasks.catalog.formats import encode_rows
from zsds_tasks.catalog.plot import plot_light_curves
from zsds_tasks.catalog.positions import parse_position
from zsds_tasks.errors import UnusableInputError


def curves_of(lake, kind, number=0):
    star = lake.of_kind(kind)[number]
    catalog = lake.open()
    return star, catalog.light_curves(catalog.cone("objects", star.ra, star.dec, 1.0)["objectid"][0].as_py())


@cache
def a_curve(lake):
    return curves_of(lake, "eclipsing")[1][0]


def test_clean_epochs_have_no_flag_and_lie_on_the_true_curve(lake):
    star, curves = curves_of(lake, "rrlyrae")
    assert 0 < sum(len(curve.clean()) for curve in curves) < sum(len(curve) for curve in curves)
    for curve in curves:
        clean = curve.clean()
        assert (clean.catflags == 0).all()
        rest = clean.mag - star.magnitude(clean.hmjd, curve.filterid)
        assert np.std(rest) < 1.5 * SIGMA
        assert np.array_equal(clean.clean().hmjd, clean.hmjd)


@given(period=st.floats(0.01, 500.0), zero=st.floats(-1e5, 1e5))
def test_a_phase_is_the_fraction_of_a_turn(lake, period, zero):
    curve = a_curve(lake)
    phase = curve.fold(period, zero)
    assert ((phase >= 0.0) & (phase < 1.0)).all()
    turns = (curve.hmjd - zero) / period - phase
    assert np.abs(turns - np.round(turns)).max() < 1e-6


def test_the_period_of_a_star_is_found_from_all_its_light_curves(lake):
    for number in range(2):
        star, curves = curves_of(lake, "rrlyrae", number)
        assert period_of(curves) == pytest.approx(star.period, rel=1e-3)
    assert period_of([]) is None


def test_flat_curves_hold_the_epochs_row_by_row(lake):
    rows = lake.open().arrow("lightcurves")
    flat = flat_curves(rows)
    assert len(flat) == rows.num_rows
    assert flat.mjd.tolist() == [t for cell in rows["lightcurve"].to_pylist() for t in cell["hmjd"]]
    assert len(flat_curves(rows.slice(0, 0))) == 0
    assert flat_curves(rows.slice(5, 3)).mag.tolist() == flat.mag[flat.offsets[5] : flat.offsets[8]].tolist()


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_period_that_is_none_is_refused(lake, wrong):
    _, curves = curves_of(lake, "rrlyrae")
    with pytest.raises(UnusableInputError, match="is no period"):
        curves[0].fold(wrong)
    with pytest.raises(UnusableInputError, match="is no period"):
        plot_light_curves(curves, period=wrong)


def test_the_picture_shows_brighter_up_each_filter_once_and_two_turns(lake, tmp_path):
    star, curves = curves_of(lake, "rrlyrae")
    path = tmp_path / "curve.png"
    figure = plot_light_curves(curves, path, period=star.period)
    time, phase = figure.axes
    low, high = time.get_ylim()
    assert low > high
    clean = np.concatenate([curve.clean().mag for curve in curves])
    assert high < clean.min() < clean.max() < low
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["g", "r", "flagged"]
    assert phase.get_xlim() == (-0.02, 2.02)
    drawn = pa.py_buffer(path.read_bytes()).size
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert drawn > 20_000
    assert len(curves[0].plot().axes) == 1
    with pytest.raises(UnusableInputError, match="no epoch"):
        plot_light_curves([])


def test_parquet_and_csv_hold_the_rows(lake):
    rows = lake.open().cone("lightcurves", 2.055, 1.255, 600.0)
    assert pq.read_table(io.BytesIO(encode_rows(rows, "parquet", table="lightcurves"))).equals(rows)
    text = encode_rows(rows, "csv", table="lightcurves")
    back = pa.csv.read_csv(io.BytesIO(text))
    assert back.num_rows == sum(rows["nepochs"].to_pylist())
    assert back["hmjd"].to_pylist() == [t for cell in rows["lightcurve"].to_pylist() for t in cell["hmjd"]]
    assert set(back["objectid"].to_pylist()) == set(rows["objectid"].to_pylist())


def test_a_votable_tells_units_ucds_and_descriptions(lake, include):
    rows = lake.open().cone("lightcurves", 2.055, 1.255, 600.0)
    table = parse_single_table(
        io.BytesIO(encode_rows(rows, "votable", table="lightcurves", include=include)), verify="exception"
    )
    fields = {field.name: field for field in table.fields}
    assert (fields["objra"].ucd, fields["objra"].unit) == ("pos.eq.ra;meta.main", "deg")
    assert (fields["hmjd"].ucd, fields["hmjd"].unit) == ("time.epoch", "d")
    assert "PSF magnitude" in fields["mag"].description
    first = rows["lightcurve"][0].as_py()
    assert table.array["hmjd"][: len(first["hmjd"])].tolist() == first["hmjd"]


def test_a_votable_of_objects_has_a_row_for_each_with_nulls_masked(lake, include):
    rows = lake.open().arrow("objects")
    table = parse_single_table(
        io.BytesIO(encode_rows(rows, "votable", table="objects", include=include)), verify="exception"
    )
    array = table.array
    assert len(array) == rows.num_rows
    assert array["objectid"].tolist() == rows["objectid"].to_pylist()
    period = [np.nan if one is None else one for one in rows["period"].to_pylist()]
    assert np.array_equal(np.ma.filled(array["period"], np.nan), period, equal_nan=True)
    assert array["gaia_id"].mask.all()
    assert array["members_objectid"][0].tolist() == rows["members"][0].as_py()["objectid"]
    assert array["is_candidate"].tolist() == rows["is_candidate"].to_pylist()


def test_a_votable_holds_lists_of_texts_and_lists_of_nothing(include):
    rows = pa.table({
        "runid": ["a", "b"],
        "names": pa.array([["x", "y"], None], pa.list_(pa.string())),
        "numbers": pa.array([[], []], pa.list_(pa.int8())),
    })  # fmt: skip
    for part in (rows, rows.slice(0, 0)):
        made = encode_rows(part, "votable", table="science_images", include=include)
        array = parse_single_table(io.BytesIO(made), verify="exception").array
        assert array["names"].tolist() == ["x y", ""][: part.num_rows]
        assert [len(one) for one in array["numbers"]] == [0, 0][: part.num_rows]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.png.gz"])
def test_a_picture_of_no_known_kind_is_refused(lake, tmp_path, name):
    with pytest.raises(UnusableInputError, match=r"end its name in \.png"):
        plot_light_curves([a_curve(lake)], tmp_path / name)


@pytest.mark.parametrize("kind", ["csv", "votable", "parquet"])
def test_no_rows_make_a_file_without_rows(lake, kind):
    rows = lake.open().cone("lightcurves", 200.0, 1.0, 5.0)
    assert encode_rows(rows, kind, table="lightcurves")
    with pytest.raises(UnusableInputError, match="is no format"):
        encode_rows(rows, "xlsx", table="lightcurves")


@pytest.mark.parametrize(
    ("ra", "dec", "degrees"),
    [
        ("188.73", "-12.5", (188.73, -12.5)),
        ("+0", "+90", (0.0, 90.0)),
        ("12:34:55.2", "-12:30:00", (188.73, -12.5)),
        ("12h34m55.2s", "-12d30m00s", (188.73, -12.5)),
        ("12 34 55.2", "-12 30 0", (188.73, -12.5)),
        ("00:00:00", "-00:30:36", (0.0, -0.51)),
        ("23:59:59.99", "0:0:0", (359.99995833333333, 0.0)),
        (" 1.5d ", "2d", (1.5, 2.0)),
    ],
)
def test_positions_are_read_as_written(ra, dec, degrees):
    assert parse_position(ra, dec) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    ("ra", "dec", "fact"),
    [
        ("abc", "1", "right ascension 'abc': is no angle"),
        ("nan", "1", "is no angle"),
        ("1e3", "1", "is no angle"),
        ("360", "1", "is not from 0 up to 360"),
        ("-1", "1", "is not from 0 up to 360"),
        ("24:00:00", "1", "is not from 0 up to 360"),
        ("12:60:00", "1", "minutes or seconds of 60"),
        ("12:00:60", "1", "minutes or seconds of 60"),
        ("12:00:00", "90.01", "is not from -90 to 90"),
        ("12:00:00", "-95:00:00", "is not from -90 to 90"),
        ("12:00:00", "1h2m3s", "has no hours"),
        ("", "1", "is no angle"),
        ("1;2", "1", "is no angle"),
    ],
)
def test_what_is_no_position_is_refused(ra, dec, fact):
    with pytest.raises(UnusableInputError, match=fact):
        parse_position(ra, dec)


@given(st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
def test_sexagesimal_and_degrees_say_the_same(ra, dec):
    from astropy.coordinates import Angle

    hours = Angle(ra, "deg").to_string("hourangle", sep=":", precision=9)
    degrees = Angle(dec, "deg").to_string("deg", sep=":", precision=9)
    if hours.startswith("24:"):
        return
    assert parse_position(hours, degrees) == pytest.approx((ra, dec), abs=1e-11 + 1e-9)
