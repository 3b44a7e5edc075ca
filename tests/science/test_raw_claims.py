"""What headers claim: each keyword, time, pointing and identity that cannot be is named with its numbers."""

import datetime as dt

import numpy as np
import pytest
from builders import NIGHT_START, NOW, tiny_include, tiny_rules
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from zsds_tasks.errors import DeclarationError
from zsds_tasks.science.raw import (
    Defect,
    DefectCode,
    RawFrame,
    RawRules,
    Refusal,
    VerificationConfig,
    nominal_centres,
    verify,
)
from zsds_tasks.science.raw.defects import REMEDIES
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.camera import load_camera


def test_another_camera(frames, rules):
    name, data = frames.build(changes={"INSTRUME": "ZTF/MOSAIC"})
    part = "INSTRUME is 'ZTF/MOSAIC', camera tiny writes 'ZTF/TINY'"
    refused(verify(data, name, rules), DefectCode.WRONG_CAMERA, part)
    name, data = frames.build(quadrant_changes={"RCID": 7, "GAIN": 1.5, "AMP_NAME": "h"})
    parts = (
        "HDU 2 RCID is 7, the camera has 1",
        "GAIN is 1.5, the camera has 6.2",
        "AMP_NAME is h, the camera has g",
    )
    refused(verify(data, name, rules), DefectCode.WRONG_CAMERA, *parts)
    name, data = frames.build(changes={"PIXSCALE": 0.25})
    refused(
        verify(data, name, rules), DefectCode.WRONG_CAMERA, "PIXSCALE is 0.25 arcsec, the camera has 1.012"
    )


def test_every_missing_or_malformed_keyword_is_named(frames, rules):
    changes = {
        "FIELDID": None,
        "EXPTIME": "thirty",
        "OBSMJD": 12.5,
        "DATE-OBS": "yesterday",
        "SHUTOPEN": "2025-02-30T00:00:00",
        "TOOFLAG": 1,
        "NID": 3206.0,
        "HUMIDITY": 140.0,
    }
    name, data = frames.build(
        changes=changes, quadrant_changes={"GAIN": None, "AMP_ID": True}, checksum=False
    )
    for card in (b"MOONALT =                  NaN", b"FILTER  = 'unfinished"):
        place = data.index(card[:9])
        data = data[:place] + card.ljust(80) + data[place + 80 :]
    outcome = verify(data, name, rules)
    refused(outcome, DefectCode.HEADER_CONTRACT)
    assert sorted(outcome.reason.split("; ")) == [
        "DATE-OBS is 'yesterday', not YYYY-MM-DDThh:mm:ss.sss",
        "EXPTIME is 'thirty', not a finite number",
        "FIELDID is missing",
        "FILTER is an unfinished string: 'unfinished",
        "HDU 2 AMP_ID is True, not an integer",
        "HDU 2 GAIN is missing",
        "HUMIDITY is 140, not within 0 to 100",
        "MOONALT cannot be read: NaN",
        "NID is 3206.0, not an integer",
        "OBSMJD is 12.5, not within 57000 to 80000",
        "SHUTOPEN is '2025-02-30T00:00:00': day is out of range for month",
        "TOOFLAG is 1, not T or F",
    ]


def test_what_a_kind_of_frame_needs(frames, rules):
    for kind, filtercode, keyword in (("o", "zr", "RAD"), ("o", "zr", "AIRMASS"), ("f", "zr", "ILUM_LED")):
        name, data = frames.build(imgtypecode=kind, filtercode=filtercode, changes={keyword: None})
        refused(verify(data, name, rules), DefectCode.HEADER_CONTRACT, f"{keyword} is missing")


def test_a_keyword_twice(frames, rules):
    name, data = frames.build(checksum=False)
    first, other = b"EXPTIME =                 30.0", b"OBSERVER"
    place = data.index(b"HUMIDITY=")
    double = data[:place] + first.replace(b"30.0", b"60.0").ljust(80) + data[place + 80 :]
    assert other not in double
    refused(
        verify(double, name, rules),
        DefectCode.HEADER_CONTRACT,
        "EXPTIME appears 2 times with different values",
    )
    same = data[:place] + first.ljust(80) + data[place + 80 :]
    assert isinstance(verify(same, name, rules), RawFrame)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"DATE-OBS": "2025-10-12T04:30:02"}, "DATE-OBS differs from OBSMJD by 2.0 s"),
        ({"SHUTOPEN": "2025-10-12T04:29:57"}, "SHUTOPEN differs from OBSMJD by -3.0 s"),
        ({"OBSJD": 2460960.6876}, "OBSJD differs from OBSMJD by 8.6 s"),
        ({"SHUTCLSD": "2025-10-12T04:35:00"}, "SHUTCLSD is 300.0 s after SHUTOPEN, EXPTIME is 30 s"),
        ({"EXPID": 320618752}, "EXPID is 320618752, OBSMJD makes it 320618750"),
        ({"NID": 3205}, "NID is 3205, EXPID begins with 3206"),
    ],
)
def test_times_that_cannot_be(frames, rules, changes, part):
    name, data = frames.build(changes=changes)
    refused(verify(data, name, rules), DefectCode.IMPOSSIBLE_TIME, part)


def test_real_rounding_of_obsjd_is_believed(frames, rules):
    name, data = frames.build(changes={"OBSJD": 2460960.6875 - 0.7 / 86400})
    assert isinstance(verify(data, name, rules), RawFrame)


def test_the_future_and_the_time_before_the_survey(frames, tiny):
    name, data = frames.build()
    before = tiny_rules(tiny, NIGHT_START - dt.timedelta(minutes=5))
    refused(
        verify(data, name, before),
        DefectCode.IMPOSSIBLE_TIME,
        "OBSMJD (2025-10-12 04:30:00 UTC) is in the future",
    )
    skewed = tiny_rules(tiny, NIGHT_START - dt.timedelta(seconds=30))
    assert isinstance(verify(data, name, skewed), RawFrame)
    name, data = frames.build(changes={"OBSMJD": 57500.25, "OBSJD": 2457500.75})
    refused(
        verify(data, name, tiny_rules(tiny)),
        DefectCode.IDENTITY_MISMATCH,
        "2016-04-22 is before the survey's",
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"TELDEC": 34.0}, "the telescope looks 2.00 deg beside the requested position"),
        ({"DECD": 30.0, "TELDEC": 30.0}, "lies 2.00 deg from the centre of field 5"),
        ({"ELVATION": -3.0}, "ELVATION is -3 deg, below the horizon"),
        ({"ELVATION": 40.0}, "ELVATION is 40.0 deg, time and pointing make it 78.5"),
        ({"AIRMASS": 2.5}, "AIRMASS is 2.50, the elevation makes it 1.02"),
    ],
)
def test_pointings_that_cannot_be(frames, rules, changes, part):
    name, data = frames.build(changes=changes)
    refused(verify(data, name, rules), DefectCode.IMPOSSIBLE_POINTING, part)


def test_fields_outside_the_grid(frames, rules):
    name, data = frames.build(changes={"FIELDID": 77})
    name = name.replace("000005", "000077")
    refused(verify(data, name, rules), DefectCode.IMPOSSIBLE_POINTING, "FIELDID 77 is not in the grid mini")
    name, data = frames.build(changes={"FIELDID": 0}, programid=0)
    assert isinstance(verify(data, name.replace("000005", "000000"), rules), RawFrame)
    name, data = frames.build(changes={"PROGRMID": 7})
    refused(
        verify(data, name, rules), DefectCode.IDENTITY_MISMATCH, "PROGRMID is 7, the survey has [0, 1, 2, 3]"
    )


def test_all_defects_of_a_sound_shell_are_named_and_the_gravest_gives_the_code(frames, rules):
    name, data = frames.build(changes={"AIRMASS": 3.0, "NID": 1, "CCDID": 2, "PIXSCALE": 9.0})
    outcome = verify(data, name, rules)
    refused(outcome, DefectCode.WRONG_CAMERA, "PIXSCALE", "CCDID", "NID", "AIRMASS")
    assert {defect.code for defect in outcome.defects} == {
        DefectCode.WRONG_CAMERA,
        DefectCode.IDENTITY_MISMATCH,
        DefectCode.IMPOSSIBLE_TIME,
        DefectCode.IMPOSSIBLE_POINTING,
    }
    assert outcome.facts == {"expid": 320618750}


def test_every_code_has_a_remedy():
    assert set(REMEDIES) == set(DefectCode)
    assert (
        Refusal((Defect(DefectCode.CONFLICT, "a"), Defect(DefectCode.NOT_FITS, "b"))).code
        == DefectCode.NOT_FITS
    )


@given(st.binary(max_size=6000), st.text(max_size=60))
def test_any_bytes_under_any_name_are_refused_and_never_raise(rules, data, name):
    assert isinstance(verify(data, name, rules), Refusal)


@given(st.binary(max_size=400), st.integers(0, 60_000))
def test_any_bytes_inside_a_frame_are_judged_and_never_raise(unsummed, rules, data, place):
    name, frame = unsummed
    changed = frame[:place] + data + frame[place + len(data) :]
    assert isinstance(verify(changed, name, rules), RawFrame | Refusal)


def test_a_contract_that_asks_too_little_is_refused(tmp_path):
    poor = tiny_include(tmp_path)
    path = poor / "config" / "headers" / "ztf.yaml"
    lines = [line for line in path.read_text().splitlines() if "keyword: OBSMJD" not in line]
    path.write_text("\n".join(lines))
    with pytest.raises(DeclarationError, match="does not require obsmjd of every frame"):
        RawRules.load("tiny", poor, VerificationConfig(), NOW)


def test_nominal_centres_turn_with_the_rotator(tiny):
    camera = load_camera("tiny", tiny)
    upright = nominal_centres(camera, 1, (345.0, 32.0), 0.0)
    turned = nominal_centres(camera, 1, (345.0, 32.0), 180.0)
    assert len(upright) == 4
    for (ra, dec), (ra_turned, dec_turned) in zip(upright, turned, strict=True):
        # A half turn mirrors each centre through the boresight.
        assert np.isclose(
            separation_deg(ra, dec, 345.0, 32.0), separation_deg(ra_turned, dec_turned, 345.0, 32.0)
        )
        assert (dec - 32.0) * (dec_turned - 32.0) < 0
