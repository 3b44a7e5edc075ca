from __future__ import annotations

import datetime as dt

import pytest
from builders import NOW, Installation

from zsds_tasks.steps.publish import publish_tables
from zsds_tasks.steps.upkeep import UpkeepSummary, tidy

TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)


@pytest.fixture
def place(tmp_path):
    made = Installation.at(tmp_path)
    made.deliver(made.frames.build())
    made.ingest(NOW)
    return made


def test_raw_frames_and_rows_survive_and_orphans_go(place):
    storage = place.lakehouse.storage
    storage.put_bytes_atomically(b"orphan", "sci/2025/1012/000001/left.fits")
    storage.put_bytes_atomically(b"raw", "raw/2025/1012/000001/without_row.fits.fz")
    before = place.rows("raw_quadrants")
    assert tidy(place.lakehouse, dt.datetime.now(dt.UTC)) == UpkeepSummary(0, 0, 0, 0)
    assert tidy(place.lakehouse, TOMORROW) == UpkeepSummary(0, 1, 0, len(b"orphan"))
    assert storage.exists("raw/2025/1012/000001/without_row.fits.fz")
    assert all(storage.exists(row["path"]) for row in before)
    assert tidy(place.lakehouse, TOMORROW) == UpkeepSummary(0, 0, 0, 0)


def test_old_publications_go_and_the_latest_stays(place):
    first = {catalog.name: catalog for catalog in publish_tables(place.lakehouse)}
    place.deliver(place.frames.build(ccdid=2))
    place.ingest(NOW)
    second = {catalog.name: catalog for catalog in publish_tables(place.lakehouse)}
    assert second["raw_quadrants"].version > first["raw_quadrants"].version
    assert tidy(place.lakehouse, TOMORROW, keep=1).publications == 2
    again = {catalog.name: catalog for catalog in publish_tables(place.lakehouse)}
    assert again == second
