from __future__ import annotations

import datetime as dt

import pytest
from builders import NOW, Installation

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.publish import publish_tables
from zsds_tasks.steps.upkeep import UpkeepSummary, maintain, tidy

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


def test_maintenance_brings_small_files_together_and_changes_no_row(tmp_path):
    lakehouse = open_lakehouse(Settings(var=tmp_path))
    table, place = lakehouse.table("alert_objects"), {"year": 2025, "jd": 2460960.5, "dec": 1.0}
    for number in range(3):
        name = f"ZTF25aaaaaa{'abc'[number]}"
        row = {"objectid": name, "ordinal": number, "candid": number, "ra": 10.0 + number / 100}
        table.merge([row | place])
    rows, files = table.read(), len(table.snapshot().files)
    summary = maintain(lakehouse, dt.datetime.now(dt.UTC))
    assert summary.compacted == ("alert_objects",)
    assert len(table.snapshot().files) < files
    assert table.read() == rows
    assert table.read(version=1).num_rows < rows.num_rows  # 30 days of versions stay
    assert maintain(lakehouse, dt.datetime.now(dt.UTC)).compacted == ()


def test_an_empty_archive_needs_no_maintenance(tmp_path):
    with pytest.raises(NothingToDoError):
        maintain(open_lakehouse(Settings(var=tmp_path)), dt.datetime.now(dt.UTC))
