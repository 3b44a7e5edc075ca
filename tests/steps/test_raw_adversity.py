"""Raw ingest against the world: batches, full disks, dead processes, errors of ours, the scheduler."""

import datetime as dt
import errno
import hashlib
import json
import os
import pickle
from functools import partial

import pytest
from builders import NIGHT_START, NOW, Installation, tiny_rules

from zsds_tasks.errors import NothingToDoError, TransientError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.local_storage import LocalStorage
from zsds_tasks.science.raw import DefectCode, verification
from zsds_tasks.settings import Settings
from zsds_tasks.steps import inspection, raw
from zsds_tasks.steps.incoming import look, sole_ingest

GRACE = dt.timedelta(minutes=20)


@pytest.fixture
def place(tmp_path):
    return Installation.at(tmp_path)


def later(seconds):
    return NIGHT_START + dt.timedelta(seconds=seconds)


def test_a_limit_takes_the_oldest(place):
    place.deliver(*[place.frames.build(later(45 * i)) for i in (3, 1, 2)])
    assert place.ingest(limit=1).ingested == 1
    assert place.rows("raw_exposures")[0]["obsdate"] == later(45)
    assert len(place.delivered()) == 2


def test_batches_commit_one_by_one(place):
    place.deliver(*[place.frames.build(later(45 * i)) for i in range(5)])
    config = place.config.model_copy(update={"batch_files": 2})
    assert place.ingest(config=config).ingested == 5
    assert place.lakehouse.table("raw_quadrants").version() == 3
    place.assert_sound()


def test_nothing_there_is_said(place):
    with pytest.raises(NothingToDoError, match="nothing complete to ingest"):
        place.ingest()


def test_what_is_no_file_is_left_and_named(place):
    (place.incoming / "folder").mkdir()
    (place.incoming / "ztf_20251012187500_000005_zr_c01_o.fits.fz").symlink_to("/etc/hostname")
    os.mkfifo(place.incoming / "pipe")
    with pytest.raises(NothingToDoError) as caught:
        place.ingest()
    for part in ("folder: it is a folder", "fits.fz: it is a symbolic link", "pipe: it is a pipe"):
        assert part in str(caught.value)
    assert len(place.delivered()) == 3


def test_a_broken_archive_file_of_a_dead_process_is_overwritten(place):
    name, data = place.frames.build()
    target = place.lakehouse.storage.local_path_or_none(f"raw/2025/1012/187500/{name}")
    target.parent.mkdir(parents=True)
    target.write_bytes(b"half")
    place.deliver((name, data))
    assert place.ingest().ingested == 1
    place.assert_sound()


def test_a_good_archive_file_without_a_row_has_come_first(place):
    """A process died after archiving; before the next run the camera sent other bytes under the same name."""
    name, first = place.frames.build(seed=1)
    target = place.lakehouse.storage.local_path_or_none(f"raw/2025/1012/187500/{name}")
    target.parent.mkdir(parents=True)
    target.write_bytes(first)
    place.deliver(place.frames.build(seed=2))
    summary = place.ingest()
    assert (summary.ingested, summary.quarantined) == (1, {"conflict": 1})
    assert target.read_bytes() == first
    place.assert_sound()


def test_a_lost_archive_file_is_healed_by_its_duplicate(place):
    name, data = place.frames.build()
    place.deliver((name, data))
    place.ingest()
    place.lakehouse.storage.delete(f"raw/2025/1012/187500/{name}")
    place.deliver((name, data))
    assert place.ingest().duplicates == 1
    place.assert_sound()


def test_a_file_above_any_frame_of_the_camera_is_refused_unread(place):
    name, data = place.frames.build()
    with (place.incoming / name).open("wb") as stream:
        stream.write(data)
        stream.truncate(200_000_000)
    assert place.ingest().quarantined == {"oversized": 1}
    assert "200000000 bytes; no frame of camera tiny exceeds" in place.rows("quarantine")[0]["reason"]


def test_an_error_of_ours_quarantines_the_file_with_its_traceback(place, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("planted")

    good, bad = place.frames.build(later(45)), place.frames.build()
    monkeypatch.setattr(verification.sanity, "pointing_defects", broken)
    place.deliver(bad)
    assert place.ingest().quarantined == {DefectCode.INTERNAL_ERROR: 1}
    monkeypatch.undo()
    place.deliver(good, bad)
    summary = place.ingest()
    assert (summary.ingested, summary.repeats) == (2, 0)
    (row,) = place.rows("quarantine")
    assert row["reason"] == "verification failed: ZeroDivisionError: planted"
    assert "in broken" in json.loads(row["facts"])["traceback"]


def test_a_full_disk_loses_nothing(place, monkeypatch):
    files = [place.frames.build(later(45 * i)) for i in range(3)]
    place.deliver(*files)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("zsds_tasks.lakehouse.local_storage.os.link", full)
        with pytest.raises(TransientError, match="No space left on device"):
            place.ingest()
    assert place.delivered() == sorted(name for name, _ in files)
    assert place.rows("raw_quadrants") == []
    assert place.ingest().ingested == 3
    place.assert_sound()


@pytest.mark.parametrize("first", ["good", "bad"])
@pytest.mark.parametrize("event", ["replaced", "taken away"])
def test_a_file_that_changes_after_inspection_is_judged_anew(place, first, event):
    """Between inspection and archiving lies the verification of a whole batch: seconds."""
    name, data = place.frames.build(seed=1)
    _, other = place.frames.build(seed=2)
    place.deliver((name, data if first == "good" else b"torn"))

    def meddle(what, _done, _total):
        if what == "files verified":
            path = place.incoming / name
            path.unlink()
            if event == "replaced":
                path.write_bytes(other)

    with pytest.raises(TransientError, match="replaced, changed or taken away"):
        place.ingest(progress=meddle)
    assert place.stored("raw") == place.stored("quarantine") == {}
    place.assert_sound()
    if event == "replaced":
        assert place.ingest().ingested == 1
        assert list(place.stored("raw").values()) == [hashlib.sha256(other).hexdigest()]
        place.assert_sound()


def test_an_unreadable_file_is_left_and_named(place, monkeypatch):
    place.deliver(place.frames.build(), ("ztf_20251012187000_000005_zr_c01_o.fits.fz", b"x"))
    genuine = inspection.os.open

    def failing(path, *arguments, **options):
        if "187000" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return genuine(path, *arguments, **options)

    monkeypatch.setattr(inspection.os, "open", failing)
    summary = place.ingest()
    assert summary.ingested == 1
    assert summary.left == (
        ("ztf_20251012187000_000005_zr_c01_o.fits.fz", "it cannot be read: Permission denied"),
    )


def test_links_share_the_bytes_on_one_disk(place):
    place.deliver(place.frames.build())
    inode = next(place.incoming.glob("ztf*")).stat().st_ino
    place.ingest()
    path = place.rows("raw_quadrants")[0]["path"]
    assert place.lakehouse.storage.local_path_or_none(path).stat().st_ino == inode


def test_progress_tells_every_step(place):
    place.deliver(place.frames.build(), ("junk", b"x"))
    heard = []
    place.ingest(progress=lambda *step: heard.append(step))
    assert heard == [
        ("files verified", 1, 2),
        ("files verified", 2, 2),
        ("files placed", 1, 2),
        ("files placed", 2, 2),
        ("quadrants registered", 4, 4),
        ("exposures registered", 1, 1),
        ("refusals registered", 1, 1),
        ("taken from incoming", 1, 2),
        ("taken from incoming", 2, 2),
    ]


def test_inspection_survives_the_way_to_a_worker(place):
    """Workers are other processes: what goes there and comes back must pickle; Ray itself runs in night/."""
    place.deliver(place.frames.build(), ("junk", b"x"))
    function = partial(inspection.inspect, rules=tiny_rules(place.settings.include))
    work = pickle.loads(pickle.dumps(function))  # noqa: S301 - our own
    for delivery in look(place.incoming, place.config.incoming).complete:
        assert pickle.loads(pickle.dumps(work(delivery))) == work(delivery)  # noqa: S301 - our own


def test_an_installation_without_anything_yet_is_made(tmp_path):
    place = Installation.at(tmp_path)
    place.incoming.rmdir()
    fresh = open_lakehouse(Settings(var=place.settings.var, include=place.settings.include, camera="tiny"))
    assert isinstance(fresh.storage, LocalStorage)
    with pytest.raises(NothingToDoError):
        place.ingest()


def test_the_rest_is_taken_in_quietly_but_not_beside_another_ingest(place):
    def rest():
        return raw.ingest_rest(place.lakehouse, place.settings, NOW)

    (place.settings.include / "config" / "raw.yaml").write_text("incoming: {settle_s: 0.0}")
    place.deliver(place.frames.build())
    assert json.loads(json.dumps(rest()))["ingested"] == 1
    assert rest()["ingested"] == 0
    with sole_ingest(place.incoming), pytest.raises(TransientError, match="another ingest is running"):
        rest()
