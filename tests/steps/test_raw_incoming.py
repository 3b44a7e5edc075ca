"""Which files are complete, in which order, and one ingest at a time."""

import os
import subprocess
import sys
import time

import pytest
from builders import NIGHT_START, Installation

from zsds_tasks.errors import ConfigurationError, NothingToDoError
from zsds_tasks.steps.incoming import AnotherIngestError, IncomingConfig, look, settled, sole_ingest

CONFIG = IncomingConfig(settle_s=5.0)


def put(folder, name, age_s=60.0, size=3):
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def names(deliveries):
    return [delivery.name for delivery in deliveries]


def test_complete_files_come_oldest_first_by_the_instant_in_the_name(tmp_path):
    late, early = "ztf_20251012300000_000005_zr_c01_o.fits.fz", "ztf_20251012100000_000009_zr_c02_o.fits.fz"
    for name in ("zzz", late, early, "aaa"):
        put(tmp_path, name)
    assert names(look(tmp_path, CONFIG).complete) == [early, late, "aaa", "zzz"]


def test_temporary_names_are_not_looked_at(tmp_path):
    for name in (".hidden", "a.part", "b.tmp", "c.filepart", "d~"):
        put(tmp_path, name)
    assert look(tmp_path, CONFIG) == look(tmp_path / "missing", CONFIG)


def test_a_fresh_file_is_unsettled_until_its_time(tmp_path):
    put(tmp_path, "fresh", age_s=0.0)
    put(tmp_path, "old", age_s=5.1)
    put(tmp_path, "future", age_s=-3600.0)
    contents = look(tmp_path, CONFIG)
    assert names(contents.complete) == ["old"]
    assert names(contents.unsettled) == ["fresh", "future"]
    assert names(look(tmp_path, CONFIG, clock=lambda: time.time() + 6).complete) == ["fresh", "old"]


def test_a_file_that_is_held_open_for_writing_is_not_complete(tmp_path):
    stalled, forgotten = put(tmp_path, "stalled"), put(tmp_path, "forgotten", age_s=10_000.0)
    with stalled.open("ab"), forgotten.open("ab"), put(tmp_path, "read").open("rb"):
        contents = look(tmp_path, CONFIG)
        assert names(contents.complete) == ["forgotten", "read"]
        assert names(contents.unsettled) == ["stalled"]
        assert settled(contents.unsettled, CONFIG, sleep=lambda _: None) == ()
    assert names(look(tmp_path, CONFIG).complete) == ["forgotten", "read", "stalled"]


def test_a_stalled_upload_is_waited_for(tmp_path):
    place = Installation.at(tmp_path)
    name, data = place.frames.build(NIGHT_START)
    with (place.incoming / name).open("wb") as upload:
        upload.write(data[: len(data) // 2])
        upload.flush()
        with pytest.raises(NothingToDoError):
            place.ingest()
        upload.write(data[len(data) // 2 :])
    assert place.ingest().ingested == 1
    place.assert_sound()


def test_watching_settles_what_does_not_change(tmp_path):
    growing, gone = put(tmp_path, "growing", age_s=0.0), put(tmp_path, "gone", age_s=0.0)
    put(tmp_path, "future", age_s=-3600.0)
    unsettled = look(tmp_path, CONFIG).unsettled

    def meanwhile(seconds):
        assert seconds == CONFIG.settle_s
        growing.write_bytes(b"more than before")
        gone.unlink()

    assert names(settled(unsettled, CONFIG, sleep=meanwhile)) == ["future"]
    assert settled((), CONFIG, sleep=pytest.fail) == ()


def test_a_file_that_is_replaced_is_not_the_same(tmp_path):
    path = put(tmp_path, "name")
    (delivery,) = look(tmp_path, CONFIG).complete
    assert delivery.is_unchanged()
    other = put(tmp_path, "other", size=3)
    os.utime(other, ns=(delivery.modified_ns,) * 2)
    other.rename(path)
    assert not delivery.is_unchanged()
    path.unlink()
    assert not delivery.is_unchanged()


def test_a_path_that_is_no_folder_is_a_wrong_setting(tmp_path):
    put(tmp_path, "file")
    with pytest.raises(
        ConfigurationError, match=r"cannot be used as the incoming folder: Not a directory.*ZSDS_INCOMING"
    ):
        look(tmp_path / "file", CONFIG)
    for place in ("file", "file/below"):
        with (
            pytest.raises(ConfigurationError, match="cannot be used as the incoming folder"),
            sole_ingest(tmp_path / place),
        ):
            pass


def test_one_ingest_at_a_time_even_across_processes(tmp_path):
    with sole_ingest(tmp_path):
        with pytest.raises(AnotherIngestError, match="another ingest is running"), sole_ingest(tmp_path):
            pass
        code = (
            f"import fcntl, os; fcntl.flock(os.open({str(tmp_path / '.zsds-ingest.lock')!r}, os.O_RDWR), 6)"
        )
        assert (
            subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode
            == 1
        )
    with sole_ingest(tmp_path):
        pass


def test_a_file_still_written_is_left_for_the_next_ingest(tmp_path, monkeypatch):
    place = Installation.at(tmp_path)
    name, data = place.frames.build(NIGHT_START)
    place.deliver((name, data), ("growing", b"1"))
    config = place.config.model_copy(update={"incoming": IncomingConfig(settle_s=1000.0)})

    def meanwhile(_seconds):
        (place.incoming / "growing").write_bytes(b"12")

    monkeypatch.setattr(settled, "__defaults__", (meanwhile,))
    summary = place.ingest(config=config)
    assert summary.ingested == 1
    assert place.delivered() == ["growing"]


def test_a_file_that_changes_while_it_is_read_is_left(tmp_path, monkeypatch):
    place = Installation.at(tmp_path)
    name, data = place.frames.build(NIGHT_START)
    place.deliver((name, data), ("junk", b"x"))
    genuine = os.fdopen

    def meanwhile(descriptor, *arguments, **options):
        if os.fstat(descriptor).st_size == len(data):
            (place.incoming / name).write_bytes(data + b"more")
        return genuine(descriptor, *arguments, **options)

    monkeypatch.setattr("zsds_tasks.steps.inspection.os.fdopen", meanwhile)
    summary = place.ingest()
    assert summary.left == ((name, "it is still being written"),)
    assert place.delivered() == [name]


def test_a_name_that_means_a_new_file_by_now_is_not_removed(tmp_path):
    place = Installation.at(tmp_path)
    name, data = place.frames.build(NIGHT_START)
    place.deliver((name, data))
    other = place.frames.build(NIGHT_START, seed=5)[1]

    def replace(what, *_):
        if what == "quadrants registered":
            (place.incoming / name).unlink()
            place.deliver((name, other))

    place.ingest(progress=replace)
    assert place.delivered() == [name]
    assert place.ingest().quarantined == {"conflict": 1}
    place.assert_sound()
