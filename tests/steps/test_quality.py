"""Quick-look as a step: what is to be done is a query, doing it twice changes nothing."""

import datetime as dt

import pytest
from builders import NIGHT_START, NOW, Installation

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.science.quality.raw import QuickLookConfig
from zsds_tasks.steps import quality
from zsds_tasks.steps.quality import QualityConfig, assess_raw

LATER = NOW + dt.timedelta(hours=1)


@pytest.fixture
def place(tmp_path):
    place = Installation.at(tmp_path)
    night = NIGHT_START + dt.timedelta(days=1)
    place.deliver(
        *[place.frames.build(NIGHT_START, ccdid) for ccdid in (1, 2)],
        place.frames.build(
            NIGHT_START + dt.timedelta(minutes=5), imgtypecode="b", filtercode="OO", programid=0
        ),
        place.frames.build(night, 2, imgtypecode="b", filtercode="OO", programid=0),
    )
    place.ingest(NOW + dt.timedelta(days=1))
    return place


def assess(place, night=None, now=LATER + dt.timedelta(days=1), **options):
    return assess_raw(place.lakehouse, place.settings, now, night=night, **options)


def test_every_channel_is_measured_once(place):
    heard = []
    summary = assess(place, progress=lambda *step: heard.append(step))
    assert (summary.exposures, summary.quadrants) == (3, 16)
    assert heard == [("files measured", number, 4) for number in (1, 2, 3, 4)]
    rows = place.rows("raw_quality")
    assert {row["processing_version"] for row in rows} == {summary.processing_version}
    quadrants = {(row["expid"], row["rcid"]): row for row in place.rows("raw_quadrants")}
    for row in rows:
        quadrant = quadrants[row["expid"], row["rcid"]]
        assert row["sha256"] == quadrant["sha256"]
        # The builder puts 1000 + 10 qid DN of bias and 100 DN of sky into its frames.
        assert row["bias_level"] == pytest.approx(1000 + 10 * quadrant["qid"], abs=0.6)
        assert row["level"] == pytest.approx(100 if row["imgtypecode"] == "o" else 0, abs=0.8)
        assert row["read_noise"] == pytest.approx(quadrant["readnoise"], rel=0.3)
    with pytest.raises(NothingToDoError, match="every channel is measured"):
        assess(place)


def test_a_night_of_its_own(place):
    assert assess(place, night="20251013").quadrants == 4
    assert {row["night"] for row in place.rows("raw_quality")} == {"20251013"}
    with pytest.raises(NothingToDoError, match="night 20251014: every channel is measured"):
        assess(place, night="20251014")


def test_incomplete_exposures_wait_for_their_grace(place):
    assert assess(place, now=NOW + dt.timedelta(days=1)).exposures == 1
    assert assess(place).exposures == 2


def test_a_late_ccd_brings_its_channels_only(place):
    assess(place)
    place.deliver(
        place.frames.build(
            NIGHT_START + dt.timedelta(minutes=5), 2, imgtypecode="b", filtercode="OO", programid=0
        )
    )
    place.ingest(LATER + dt.timedelta(days=1))
    summary = assess(place)
    assert (summary.exposures, summary.quadrants) == (1, 4)
    assert len(place.rows("raw_quality")) == 20


def test_another_configuration_measures_all_again_and_replaces(place):
    first = assess(place)
    again = assess(place, config=QualityConfig(raw=QuickLookConfig(bright_sigma=3.0)))
    assert again.quadrants == first.quadrants
    assert again.processing_version != first.processing_version
    assert {row["processing_version"] for row in place.rows("raw_quality")} == {again.processing_version}


def test_the_same_measures_make_no_new_version(place):
    assess(place)
    version = place.lakehouse.table("raw_quality").version()
    rows = place.rows("raw_quality")
    place.lakehouse.table("raw_quality").delete({"night": "20251012"})
    assess(place)
    assert place.rows("raw_quality") == rows
    assert place.lakehouse.table("raw_quality").version() == version + 2


def test_a_spoilt_archive_file_is_named_and_the_others_are_measured(place):
    storage = place.lakehouse.storage
    paths = sorted({row["path"] for row in place.rows("raw_quadrants")})
    storage.put_bytes_atomically(b"rot", paths[0])
    storage.delete(paths[1])
    with pytest.raises(UnusableInputError, match="2 archived files could not be measured") as caught:
        assess(place)
    assert f"{paths[0]} has changed since it was archived" in str(caught.value)
    assert f"{paths[1]} is gone" in str(caught.value)
    assert len(place.rows("raw_quality")) == 8


def test_the_rest_of_a_night_is_measured_without_waiting_for_missing_ccds(place):
    def rest(night):
        return quality.assess_rest(place.lakehouse, place.settings, night, NOW + dt.timedelta(days=1))

    assert rest("20251013")["quadrants"] == 4
    assert rest("20251013")["quadrants"] == 0
    with pytest.raises(NothingToDoError, match="night 20251020: no raw frames"):
        rest("20251020")
