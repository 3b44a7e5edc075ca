"""Linearity, shutter and LED flats as a step: made once from the night's flats, and used the same night."""

import dataclasses
import datetime as dt
import json

import numpy as np
import pytest
from builders import NIGHT_START, NOW, REPOSITORY, Installation

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.steps.calibration import CalibrationConfig, MapRoom, build_lamp_maps, build_masters
from zsds_tasks.steps.calibration.mapfiles import encode_maps, read_maps, read_smooth_map

NIGHT, NEXT = "20251012", "20251013"
LATER = NOW + dt.timedelta(days=3)
SHAPE = (41, 37)
DELAY = 0.2  # of a shutter slow enough for a tiny camera to see
LEDS = (7, 8, 9, 10)


def config(**linearity):
    """Limits that fit 1,500 pixels, and cells that are not larger than they are."""
    plain = CalibrationConfig()
    limits = plain.acceptance.flat.model_copy(update={"min_frames": 3, "max_noise": 0.05})
    wide = {"max_noise": 0.1, "max_offset": 0.1, "max_change": 0.1}
    shutter = plain.lamps.shutter
    lamps = plain.lamps.model_copy(
        update={
            "cells": plain.lamps.cells.model_copy(update={"cell_px": 16}),
            "ramp": plain.lamps.ramp.model_copy(update={"prior_shutter_s": 1.0}),
            "linearity": plain.lamps.linearity.model_copy(update=linearity),
            "shutter": shutter.model_copy(
                update={"cell_px": 16, "limits": shutter.limits.model_copy(update=wide)}
            ),
            "max_led_noise": 0.01,
        }
    )
    acceptance = plain.acceptance.model_copy(
        update={"bias": plain.acceptance.bias.model_copy(update={"min_frames": 3}), "flat": limits}
    )
    return plain.model_copy(update={"lamps": lamps, "acceptance": acceptance})


EASY = config(max_error=0.1, max_change=0.5)


def deliver(place, start, *, biases=3, leds=LEDS, times=(10.0, 2.5), ccdids=(1,)):
    files = []
    plans = [(None, 0.0)] * biases + [(led, t) for led in leds for t in times]
    for number, (led, seconds) in enumerate(plans):
        when = start + dt.timedelta(minutes=number)
        kind = (
            {"imgtypecode": "b", "filtercode": "OO"}
            if led is None
            else {"imgtypecode": "f", "filtercode": "zr"}
        )
        changes, light = None, None
        if led is not None:
            closed = (when + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")
            changes = {"EXPTIME": seconds, "ILUM_LED": led, "SHUTCLSD": closed}
            light = (1800 + 250 * led) / 4 * (seconds + DELAY) * 2
        files += [
            place.frames.build(when, c, programid=0, seed=number, signal=light, changes=changes, **kind)
            for c in ccdids
        ]
    place.deliver(*files)
    place.ingest(NOW + dt.timedelta(days=2))


@pytest.fixture
def place(tmp_path):
    place = Installation.at(tmp_path)
    deliver(place, NIGHT_START)
    return place


def build(place, night=NIGHT, chosen=EASY, masters=True, **options):
    if masters:
        build_masters(place.lakehouse, place.settings, night, LATER, config=chosen)
    return build_lamp_maps(place.lakehouse, place.settings, night, LATER, config=chosen, **options)


def rows_of(place, kind, night=NIGHT):
    return place.lakehouse.table("master_frames").read(where={"kind": kind, "night": night}).to_pylist()


def test_every_channel_gets_curve_shutter_and_lamps_once(place):
    heard = []
    summary = build(place, progress=lambda *step: heard.append(step))
    assert (summary.channels, summary.built, summary.accepted, summary.refused) == (4, 12, 12, ())
    assert heard[-1] == ("channels", 4, 4)
    for row in rows_of(place, "linearity"):
        assert (row["choice"], row["fid"], row["n_frames"], row["bias_night"]) == ("fitted", 0, 8, NIGHT)
        assert row["lin_a_error"] > 0
        images, header = read_maps(place.lakehouse, row)
        x = np.arange(images["CURVE"].size) * header["LINSTEP"]
        curve = 1 / (row["lin_a"] * x**2 + row["lin_b"] * x + 1)
        np.testing.assert_allclose(images["CURVE"][0], curve, rtol=1e-6)
    for row in rows_of(place, "shutter"):
        found = read_smooth_map(place.lakehouse, row, SHAPE)
        assert np.abs((found.values.values - DELAY) / found.error.values).max() < 4
        assert row["average"] == pytest.approx(DELAY, abs=4 * row["noise"])
        assert row["noise"] < 0.1
    for row in rows_of(place, "ledflat"):
        images, header = read_maps(place.lakehouse, row)
        assert list(images) == ["LED07", "LED08", "LED09", "LED10"]
        assert all(np.abs(image - 1).max() < 0.005 for image in images.values())
        assert (header["CELLPX"], row["fid"]) == (16, 2)
    version = place.lakehouse.table("master_frames").version()
    again = build(place)
    assert (again.built, again.reason) == (0, "every map is built")
    assert place.lakehouse.table("master_frames").version() == version
    # Flats come before the science: their maps serve the same night.
    maps = MapRoom(place.lakehouse, place.settings, NIGHT, EASY).maps(2, 2, 10.0)
    linear, shutter = rows_of(place, "linearity")[2], rows_of(place, "shutter")[2]
    assert maps.linearity == (linear["lin_a"], linear["lin_b"])
    assert maps.used == (f"linearity {NIGHT} {linear['sha256']}", f"shutter {NIGHT} {shutter['sha256']}")
    assert maps.smooth.values.mean() == pytest.approx(1 + shutter["average"] / 10, abs=1e-4)


def test_rows_are_as_the_suite_expects(place):
    build(place)
    frame = place.lakehouse.table("master_frames").read(where={"night": NIGHT}).to_pandas()
    suite = json.loads((REPOSITORY / "include" / "expectations" / "master_frames.json").read_text())
    relations = [e["kwargs"]["relation"] for e in suite["expectations"]]
    # This shutter is far slower than a real one may be.
    assert [r for r in relations if not holds(r, frame, {}).all()] == [
        "kind != 'shutter' or isnull(average) or abs(average) <= 0.1"
    ]
    broken = frame.assign(lin_a=np.nan, average=0.01)
    assert [r[:19] for r in relations if not holds(r, broken, {}).all()] == ["kind != 'linearity'"]


def test_the_same_frames_give_the_same_files(place):
    build(place)
    before = [rows_of(place, kind) for kind in ("linearity", "shutter", "ledflat")]
    place.lakehouse.table("master_frames").delete({"kind": ["linearity", "shutter", "ledflat"]})
    build(place)
    assert [rows_of(place, kind) for kind in ("linearity", "shutter", "ledflat")] == before


def test_an_uncertain_fit_leaves_the_configured_curve_and_says_so(place):
    strict = config(max_error=1e-6)
    summary = build(place, chosen=strict)
    assert summary.accepted == 12
    for row in rows_of(place, "linearity"):
        assert (row["choice"], row["lin_a"], row["lin_b"], row["lin_a_error"]) == ("configured", 0, 0, None)
        assert row["reason"].startswith("configured: the fit is too uncertain")
        assert row["noise"] > 1e-6
    maps = MapRoom(place.lakehouse, place.settings, NIGHT, strict).maps(0, 2, 30.0)
    assert maps.linearity == (0.0, 0.0)
    assert any("too uncertain" in reason for reason in maps.reasons)


def test_flats_of_one_exposure_time_give_lamps_but_no_shutter(tmp_path):
    place = Installation.at(tmp_path)
    deliver(place, NIGHT_START, times=(10.0, 10.0))
    summary = build(place)
    assert summary.built == 12
    assert "channel 0 shutter OO: 0 lamps with two exposure times, 4 are needed" in summary.refused
    assert {row["reason"] for row in rows_of(place, "linearity")} == {
        "configured: 0 lamps with two exposure times, 4 are needed"
    }
    assert all(row["accepted"] for row in rows_of(place, "ledflat"))
    maps = MapRoom(place.lakehouse, place.settings, NIGHT, EASY).maps(0, 2, 30.0)
    assert maps.smooth is None
    assert len(maps.used) == 1


def test_without_a_bias_nothing_is_measured_and_every_row_says_why(tmp_path):
    place = Installation.at(tmp_path)
    deliver(place, NIGHT_START, biases=0)
    summary = build(place)
    assert "channel 1 shutter OO: no accepted bias within 7 days" in summary.refused
    assert "channel 1 ledflat zr: no accepted bias within 7 days" in summary.refused
    assert {row["choice"] for row in rows_of(place, "linearity")} == {"configured"}


def test_the_next_night_is_compared_and_a_night_without_flats_uses_the_nearest(place):
    build(place)
    deliver(place, NIGHT_START + dt.timedelta(days=1), biases=0)
    build(place, NEXT)
    row = rows_of(place, "shutter", NEXT)[0]
    assert (row["previous_night"], row["reason"]) == (NIGHT, "as the last one")
    assert abs(row["offset"]) < 0.1
    late = MapRoom(place.lakehouse, place.settings, "20251016", EASY).maps(0, 2, 30.0)
    assert late.used[1] == f"shutter {NEXT} {row['sha256']}"
    none = MapRoom(place.lakehouse, place.settings, "20251101", EASY).maps(0, 2, 30.0)
    assert (none.smooth, none.used) == (None, ())
    assert "linearity: as the camera declares; no row within 7 days" in none.reasons


def test_a_late_ccd_builds_all_again_since_all_are_solved_together(place):
    build(place)
    deliver(place, NIGHT_START, ccdids=(2,))
    summary = build(place)
    assert (summary.channels, summary.built) == (8, 24)


def test_a_night_without_flats_has_nothing_to_do(place):
    assert build(place, NEXT, masters=False).reason == "no flats"


def test_a_spoilt_raw_file_is_named_and_other_channels_are_built(place):
    deliver(place, NIGHT_START, ccdids=(2,))
    build_masters(place.lakehouse, place.settings, NIGHT, LATER, config=EASY)
    flats = {r["path"] for r in place.rows("raw_quadrants") if r["ccdid"] == 1 and r["imgtypecode"] == "f"}
    place.lakehouse.storage.put_bytes_atomically(b"rot", min(flats))
    with pytest.raises(UnusableInputError, match="flats of 4 channels could not be measured") as caught:
        build(place, masters=False)
    assert min(flats) in str(caught.value)
    assert {row["ccdid"] for row in rows_of(place, "shutter")} == {2}
    assert {row["ccdid"] for row in rows_of(place, "linearity")} == {2}


def test_a_map_file_is_read_whole_or_refused(place):
    build(place)
    row = rows_of(place, "shutter")[0]
    with pytest.raises(UnusableInputError, match="is no map of a channel"):
        read_smooth_map(place.lakehouse, row, (100, 100))
    storage = place.lakehouse.storage
    storage.put_bytes_atomically(b"rot", row["path"])
    with pytest.raises(UnusableInputError, match="is not the file that its row describes"):
        read_maps(place.lakehouse, row)
    storage.delete(row["path"])
    with pytest.raises(UnusableInputError, match="has no file"):
        read_maps(place.lakehouse, row)
    with pytest.raises(UnusableInputError, match="shutter of channel 0, night 20251012: has no file"):
        read_maps(place.lakehouse, row | {"path": None})


def test_a_map_file_is_exact():
    image = np.random.default_rng(1).normal(1, 1e-3, (3, 5)).astype(np.float32)
    one, two = (encode_maps({"IMAGE": image}, [("CELLPX", 4, "")]) for _ in range(2))
    assert one == two


def test_where_it_runs_changes_no_version(place):
    build(place)
    other = dataclasses.replace(place)
    assert build(other, chosen=EASY.model_copy(update={"parallel_mb": 1.0})).reason == "every map is built"
