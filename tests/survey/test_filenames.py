from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.survey.filenames import (
    CalibrationExtension,
    CalibrationFileName,
    CalibrationKind,
    RawFileName,
    ReferenceFileName,
    ReferenceSuffix,
    ScienceFileName,
    ScienceSuffix,
)
from zsds_tasks.survey.nights import FileFracDay

dates = st.dates(min_value=dt.date(2017, 1, 1), max_value=dt.date(2041, 1, 1))
epochs = st.builds(FileFracDay, dates, st.integers(0, 999_999))
fields = st.integers(0, 999_999)
filters = st.sampled_from(["zg", "zr", "zi", "OO"])
ccds = st.integers(1, 16)
quadrants = st.integers(1, 4)
names = st.one_of(
    st.builds(RawFileName, epochs, fields, filters, ccds, st.sampled_from("obdftpceigsxn")),
    st.builds(ScienceFileName, epochs, fields, filters, ccds, quadrants, st.sampled_from(ScienceSuffix)),
    st.builds(
        CalibrationFileName,
        dates,
        filters,
        ccds,
        quadrants,
        st.sampled_from(CalibrationKind),
        st.sampled_from(CalibrationExtension),
    ),
    st.builds(ReferenceFileName, fields, filters, ccds, quadrants, st.sampled_from(ReferenceSuffix)),
)


@given(names)
def test_every_name_is_read_back_from_what_it_prints(name):
    assert type(name).parse(str(name)) == name


@given(names)
def test_the_path_ends_in_the_name_and_stays_below_the_root(name):
    assert name.path.endswith("/" + str(name))
    assert not name.path.startswith("/")
    assert ".." not in name.path


@given(st.lists(st.builds(RawFileName, epochs, fields, filters, ccds, st.just("o")), min_size=2, max_size=2))
def test_raw_names_sort_by_time_first(pair):
    first, second = sorted(pair)
    assert first.epoch <= second.epoch


def test_paths_of_the_published_tree():
    raw = RawFileName.parse("ztf_20180418241157_000641_zr_c10_o.fits.fz")
    assert raw.path == "raw/2018/0418/241157/ztf_20180418241157_000641_zr_c10_o.fits.fz"
    science = ScienceFileName.parse("ztf_20180418241157_000641_zr_c10_o_q2_scimrefdiffimg.fits.fz")
    assert science.path.startswith("sci/2018/0418/241157/ztf_")
    assert science.suffix is ScienceSuffix.DIFFERENCE
    bias = CalibrationFileName.parse("ztf_20180418_OO_c10_q2_biasunc.fits")
    assert bias.path == "cal/2018/0418/bias/OO/ccd10/q2/ztf_20180418_OO_c10_q2_biasunc.fits"
    reference = ReferenceFileName.parse("ztf_001707_zg_c05_q1_refimg.fits")
    assert reference.path == "ref/001/field001707/zg/ccd05/q1/ztf_001707_zg_c05_q1_refimg.fits"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ztf.fits.fz",
        "ztf_20180418241157_000641_zr_c10_o.fits",
        "ztf_20180418241157_000641_zr_c10_o.fits.fz\n",
        "../ztf_20180418241157_000641_zr_c10_o.fits.fz",
        "ztf_20180418241157_000641_zr_c00_o.fits.fz",
        "ztf_20181318241157_000641_zr_c10_o.fits.fz",
        "ztf_\uff120180418241157_000641_zr_c10_o.fits.fz",
    ],
)
def test_what_is_not_a_raw_name_is_refused(name):
    with pytest.raises(UnusableInputError):
        RawFileName.parse(name)
