"""Raw ingest, file by file: archived, registered, refused, taken for a duplicate, completed later."""

import datetime as dt
import json
import os
import stat

import pytest
from builders import NIGHT_START, NOW, Installation

from zsds_tasks.steps.raw import ready_exposures, waiting_exposures

GRACE = dt.timedelta(minutes=20)


@pytest.fixture
def place(tmp_path):
    return Installation.at(tmp_path)


def later(seconds):
    return NIGHT_START + dt.timedelta(seconds=seconds)


def test_good_frames_are_archived_and_registered(place):
    files = [place.frames.build(later(45 * i), ccdid) for i in range(2) for ccdid in (1, 2)]
    place.deliver(*files)
    summary = place.ingest()
    assert (summary.ingested, summary.quarantined, summary.exposures) == (4, {}, 2)
    assert summary.bytes == sum(len(data) for _, data in files)
    assert place.delivered() == []
    place.assert_sound()
    first = place.rows("raw_exposures")[0]
    assert first["expid"] == 320618750
    assert first["night"] == "20251012"
    assert (first["n_ccds"], first["n_ccds_expected"]) == (2, 2)
    assert first["is_science"]
    assert first["ipac_pub_date"] == NIGHT_START
    assert first["first_received"] == first["last_received"] == NOW
    quadrants = place.rows("raw_quadrants")
    assert [row["rcid"] for row in quadrants[:8]] == list(range(8))
    assert quadrants[0]["path"] == f"raw/2025/1012/187500/{files[0][0]}"
    archived = place.lakehouse.storage.local_path_or_none(quadrants[0]["path"])
    assert stat.S_IMODE(archived.stat().st_mode) == 0o444
    # q1 lies north-east of q3, by half a CCD each way.
    assert quadrants[0]["dec"] > quadrants[2]["dec"]
    assert quadrants[0]["ra"] > quadrants[2]["ra"]


def test_engineering_and_calibration_frames_are_archived_and_are_no_science(place):
    place.deliver(
        place.frames.build(NIGHT_START, imgtypecode="b", filtercode="OO", programid=0),
        place.frames.build(later(60), imgtypecode="f", programid=0),
        place.frames.build(later(120), programid=0),
    )
    assert place.ingest().ingested == 3
    rows = place.rows("raw_exposures")
    assert [row["is_science"] for row in rows] == [False, False, False]
    assert [row["led"] for row in rows] == [None, 7, None]
    assert [row["airmass"] is None for row in rows] == [True, True, False]
    assert rows[0]["ipac_pub_date"] is None
    assert ready_exposures(place.lakehouse, NOW + 2 * GRACE, GRACE) == []
    assert len(ready_exposures(place.lakehouse, NOW + 2 * GRACE, GRACE, science_only=False)) == 3


def test_the_same_bytes_again_are_quiet(place):
    place.deliver(place.frames.build())
    place.ingest()
    before = [place.lakehouse.table(name).version() for name in ("raw_quadrants", "raw_exposures")]
    place.deliver(place.frames.build())
    summary = place.ingest(NOW + dt.timedelta(hours=1))
    assert (summary.ingested, summary.duplicates, summary.quarantined) == (0, 1, {})
    assert place.delivered() == []
    assert [place.lakehouse.table(name).version() for name in ("raw_quadrants", "raw_exposures")] == before
    place.assert_sound()


def test_other_bytes_under_a_known_name_conflict_and_the_first_stays(place):
    place.deliver(place.frames.build(seed=1))
    place.ingest()
    first = place.rows("raw_quadrants")[0]["sha256"]
    name, data = place.frames.build(seed=2)
    place.deliver((name, data))
    assert place.ingest().quarantined == {"conflict": 1}
    assert place.rows("raw_quadrants")[0]["sha256"] == first
    (row,) = place.rows("quarantine")
    assert row["reason"] == f"exposure 320618750 CCD 1 is archived as {name} with other bytes"
    assert json.loads(row["facts"]) == {"archived_as": name, "archived_sha256": first}
    place.assert_sound()
    place.deliver((name, data))
    summary = place.ingest()
    assert (summary.repeats, summary.quarantined) == (1, {})
    assert len(place.rows("quarantine")) == 1


def test_the_same_frame_under_another_fitting_name_is_a_duplicate(place):
    name, data = place.frames.build()
    place.deliver((name, data))
    place.ingest()
    place.deliver((name.replace("187500", "187400"), data))
    assert place.ingest().duplicates == 1
    assert place.delivered() == []
    place.assert_sound()


def test_the_same_frame_under_a_name_it_contradicts_is_refused(place):
    name, data = place.frames.build()
    place.deliver((name.replace("_c01_", "_c02_"), data))
    assert place.ingest().quarantined == {"wrong_camera": 1}
    assert "CCDID is 1, the file name says 2" in place.rows("quarantine")[0]["reason"]


def test_two_files_of_one_batch_are_held_against_each_other(place):
    name, data = place.frames.build(seed=1)
    other = place.frames.build(seed=2)[1]
    place.deliver(
        (name, data), (name.replace("187500", "187501"), other), (name.replace("187500", "187502"), data)
    )
    summary = place.ingest()
    assert (summary.ingested, summary.duplicates, summary.quarantined) == (1, 1, {"conflict": 1})
    place.assert_sound()


def test_ccds_of_one_exposure_must_tell_the_same(place):
    place.deliver(place.frames.build(ccdid=1), place.frames.build(ccdid=2, changes={"PROGRMID": 2}))
    assert place.ingest().quarantined == {"exposure_mismatch": 1}
    assert "PROGRMID 2 instead of 1" in place.rows("quarantine")[0]["reason"]


def test_a_refused_file_keeps_its_bytes_reason_and_remedy(place):
    name, data = place.frames.build(changes={"FIELDID": None, "EXPTIME": -3.0})
    place.deliver((name, data))
    place.ingest()
    (row,) = place.rows("quarantine")
    assert row["code"] == "header_contract"
    assert row["reason"] == "FIELDID is missing; EXPTIME is -3, not within 0 to 3600"
    assert "include/config/headers" in row["remedy"]
    assert row["night"] == "20251012"
    assert place.lakehouse.storage.read_bytes(row["path"]) == data
    place.assert_sound()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "ztf_20251012187500_000005_zr_c01_o.fits",
        "zwicky \u20ac\nline\\back.fits",
        "x" * 250,
        "ztf_00010101000000_000005_zr_c01_o.fits.fz",
        "ztf_99991231999999_000005_zr_c01_o.fits.fz",
    ],
)
def test_any_name_can_be_put_away(place, name):
    place.deliver((name, b"anything"))
    summary = place.ingest()
    assert sum(summary.quarantined.values()) == 1
    assert place.rows("quarantine")[0]["filename"] == name
    assert place.rows("quarantine")[0]["night"] == "20251013"
    place.assert_sound()


def test_a_name_that_is_not_unicode_can_be_put_away(place):
    (place.incoming / os.fsdecode(b"caf\xe9.fits")).write_bytes(b"x")
    place.ingest()
    assert place.rows("quarantine")[0]["filename"] == "caf\\xe9.fits"
    place.assert_sound()


def test_a_late_ccd_completes_its_exposure(place):
    place.deliver(place.frames.build(ccdid=1))
    place.ingest(NOW)
    assert waiting_exposures(place.lakehouse, NOW, GRACE) == [320618750]
    assert ready_exposures(place.lakehouse, NOW, GRACE) == []
    assert ready_exposures(place.lakehouse, NOW + GRACE, GRACE) == [320618750]
    assert waiting_exposures(place.lakehouse, NOW + GRACE, GRACE) == []
    late = NOW + dt.timedelta(hours=3)
    place.deliver(place.frames.build(ccdid=2))
    place.ingest(late)
    (row,) = place.rows("raw_exposures")
    assert (row["n_ccds"], row["first_received"], row["last_received"]) == (2, NOW, late)
    assert ready_exposures(place.lakehouse, late, GRACE) == [320618750]
    assert ready_exposures(place.lakehouse, late, GRACE, night="20251011") == []
    place.assert_sound()
