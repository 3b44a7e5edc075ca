"""Masters as a step: built once, found again, refused with a reason, and nothing is lost on the way."""

import datetime as dt
import io

import numpy as np
import pytest
from astropy.io import fits
from builders import NIGHT_START, NOW, Installation

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.acceptance import AcceptanceConfig, FrameLimits
from zsds_tasks.steps.calibration import CalibrationConfig, build_masters, master_for, read_master
from zsds_tasks.survey.filenames import CalibrationFileName, CalibrationKind

NIGHT, NEXT = "20251012", "20251013"
LATER = NOW + dt.timedelta(days=3)
BIAS, FLAT, MASK = CalibrationKind.BIAS, CalibrationKind.HIGH_FREQUENCY_FLAT, CalibrationKind.BAD_PIXELS
LIMITS = FrameLimits(min_frames=3, max_noise=2.0, max_offset=1.0, max_change=1.0)
CONFIG = CalibrationConfig(
    acceptance=AcceptanceConfig(
        bias=LIMITS, flat=LIMITS.model_copy(update={"max_noise": 0.01, "max_offset": 0.1, "max_change": 0.1})
    )
)


def deliver(place, start, biases=4, flats=4, ccdids=(1,), level=20000.0, **more):
    files = []
    for number in range(biases + flats):
        is_bias = number < biases
        kind = (
            {"imgtypecode": "b", "filtercode": "OO"} if is_bias else {"imgtypecode": "f", "filtercode": "zr"}
        )
        light = None if is_bias else level + 500 * number
        when = start + dt.timedelta(minutes=number)
        files += [
            place.frames.build(when, ccdid, programid=0, seed=number, signal=light, **kind, **more)
            for ccdid in ccdids
        ]
    place.deliver(*files)
    place.ingest(NOW + dt.timedelta(days=2))


@pytest.fixture
def place(tmp_path):
    place = Installation.at(tmp_path)
    deliver(place, NIGHT_START)
    return place


def build(place, night=NIGHT, now=LATER, config=CONFIG, **options):
    return build_masters(place.lakehouse, place.settings, night, now, config=config, **options)


def choose(place, kind, rcid=0, fid=0, night=NIGHT):
    return master_for(place.lakehouse, kind, rcid, fid, night, config=CONFIG)


def test_every_channel_gets_its_masters_once(place):
    heard = []
    summary = build(place, progress=lambda *step: heard.append(step))
    assert (summary.channels, summary.built, summary.accepted, summary.refused) == (4, 12, 12, ())
    assert heard == [("channels", number, 4) for number in (1, 2, 3, 4)]
    rows = place.rows("master_frames")
    assert {(r["rcid"], r["kind"], r["fid"]) for r in rows} == {
        (rcid, kind, fid)
        for rcid in range(4)
        for kind, fid in (("bias", 0), ("hifreqflat", 2), ("badpix", 0))
    }
    assert {row["n_frames"] for row in rows if row["kind"] != "badpix"} == {4}
    version = place.lakehouse.table("master_frames").version()
    again = build(place)
    assert (again.built, again.reason) == (0, "every master is built")
    assert place.lakehouse.table("master_frames").version() == version


def test_files_have_ztfs_names_and_their_own_story(place):
    build(place)
    row = choose(place, FLAT, 2, 2).row
    name = row["path"].rsplit("/", 1)[-1]
    assert name == "ztf_20251012_zr_c01_q3_hifreqflat.fits"
    assert row["path"] == CalibrationFileName.parse(name).path
    with fits.open(io.BytesIO(place.lakehouse.storage.read_bytes(row["path"]))) as hdus:
        header = hdus[1].header
        assert (header["RCID"], header["NIGHT"], header["NFRAMES"], header["STATUS"]) == (2, NIGHT, 4, 1)
        assert header["PROCVERS"] == row["processing_version"]
        assert header["INDIGEST"] == row["inputs_digest"]
        assert "FRAME004" in header
    image = read_master(place.lakehouse, row)
    uncertainty = read_master(place.lakehouse, row, uncertainty=True)
    assert image.shape == uncertainty.shape == (41, 37)
    assert np.median(image) == pytest.approx(1, abs=1e-3)
    mask = read_master(place.lakehouse, choose(place, MASK, 2).row)
    assert mask.dtype == np.uint16
    assert not np.any(mask & (MaskBit.DEAD.flag | MaskBit.NAN.flag))


def test_the_same_frames_give_the_same_files(place):
    build(place)
    before = place.rows("master_frames")
    place.lakehouse.table("master_frames").delete({"night": NIGHT})
    build(place)
    assert place.rows("master_frames") == before


def test_a_late_frame_or_another_configuration_builds_again(place):
    build(place)
    deliver(place, NIGHT_START + dt.timedelta(hours=1), biases=0, flats=1)
    again = build(place)
    assert again.built == 12
    assert {r["n_frames"] for r in place.rows("master_frames") if r["kind"] == "hifreqflat"} == {5}
    other = build(place, config=CONFIG.model_copy(update={"validity_days": 3}))
    assert other.built == 12
    assert other.processing_version != again.processing_version


def test_no_more_frames_are_read_than_memory_is_meant_for(place):
    build(place, config=CONFIG.model_copy(update={"bias": CONFIG.bias.model_copy(update={"max_frames": 3})}))
    row = choose(place, BIAS).row
    assert (row["n_frames"], row["n_rejected"]) == (3, 1)
    assert row["rejections"] == "1 more than are used at once"


def test_a_night_without_frames_has_nothing_to_do(place):
    assert build(place, NEXT).reason == "no calibration frames"
    assert build(place, NIGHT, now=NOW).reason == "no calibration frames"  # not yet received


def test_without_bias_frames_the_nearest_bias_serves_and_is_named(place):
    build(place)
    deliver(place, NIGHT_START + dt.timedelta(days=1), biases=0)
    summary = build(place, NEXT)
    assert (summary.built, summary.accepted) == (4, 4)
    rows = [row for row in place.rows("master_frames") if row["night"] == NEXT]
    assert {(row["kind"], row["bias_night"], row["previous_night"]) for row in rows} == {
        ("hifreqflat", NIGHT, NIGHT)
    }
    choice = choose(place, BIAS, night=NEXT)
    assert (choice.row["night"], choice.reason) == (NIGHT, "1 night before; tonight's is not built")
    assert choose(place, BIAS).reason == "tonight's"


def test_refusals_say_why_and_stop_what_depends_on_them(place):
    strict = CONFIG.model_copy(
        update={
            "acceptance": CONFIG.acceptance.model_copy(
                update={"bias": LIMITS.model_copy(update={"min_frames": 9})}
            )
        }
    )
    summary = build(place, config=strict)
    assert (summary.built, summary.accepted) == (12, 0)
    assert "channel 0 bias OO: too few frames: 4 of the 9 needed" in summary.refused
    assert "channel 0 hifreqflat zr: no accepted bias within 7 days" in summary.refused
    assert "channel 0 badpix OO: no accepted bias of this night" in summary.refused
    flat = next(r for r in place.rows("master_frames") if r["kind"] == "hifreqflat")
    assert (flat["path"], flat["noise"], flat["n_frames"]) == (None, None, 0)
    with pytest.raises(
        UnusableInputError, match="no accepted bias within 7 days; tonight's is refused: too few"
    ):
        choose(place, BIAS)
    with pytest.raises(UnusableInputError, match="hifreqflat of channel 0, night 20251012: has no file"):
        read_master(place.lakehouse, flat)


def test_a_master_that_changed_is_refused_against_the_last_accepted_one(place):
    build(place)
    deliver(place, NIGHT_START + dt.timedelta(days=1), flats=0)
    assert build(place, NEXT).accepted == 4
    rows = [r for r in place.rows("master_frames") if r["night"] == NEXT]
    # The same seeds made the same frames in both nights; what is left is the rounding of stored masters.
    assert {(r["previous_night"], r["reason"], r["change"]) for r in rows} == {(NIGHT, "as the last one", 0)}
    assert max(abs(r["offset"]) for r in rows) < 0.05
    picky = LIMITS.model_copy(update={"max_offset": 1e-9})
    config = CONFIG.model_copy(update={"acceptance": CONFIG.acceptance.model_copy(update={"bias": picky})})
    summary = build(place, NEXT, config=config)
    assert summary.accepted < 4
    assert all("change: median" in reason and "1e-09 allowed" in reason for reason in summary.refused)


def test_a_spoilt_raw_file_is_named_and_other_ccds_are_built(place):
    deliver(place, NIGHT_START, ccdids=(2,))
    storage = place.lakehouse.storage
    paths = sorted({r["path"] for r in place.rows("raw_quadrants") if r["ccdid"] == 1})
    storage.put_bytes_atomically(b"rot", paths[0])
    storage.delete(paths[1])
    with pytest.raises(UnusableInputError, match="masters of 4 channels could not be built") as caught:
        build(place)
    assert f"{paths[0]}: has changed since it was archived" in str(caught.value)
    assert {row["ccdid"] for row in place.rows("master_frames")} == {2}


def test_a_spoilt_master_is_told_from_a_good_one(place):
    build(place)
    row = choose(place, BIAS).row
    place.lakehouse.storage.put_bytes_atomically(b"rot", row["path"])
    with pytest.raises(UnusableInputError, match="is not the file that its row describes"):
        read_master(place.lakehouse, row)
    place.lakehouse.storage.delete(row["path"])
    with pytest.raises(UnusableInputError, match="has no file"):
        read_master(place.lakehouse, row)
