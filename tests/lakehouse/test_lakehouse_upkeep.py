"""Compaction, splitting, vacuum, declarations that grow; and what other tools read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse import delta
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.declarations import HealpixPartition

DAY_S = 86400.0


def widened(declaration, **changes):
    column = declaration.column("mag").model_copy(update={"name": "colour", **changes})
    return declaration.model_copy(
        update={"columns": (*declaration.columns[:3], column, *declaration.columns[3:])}
    )


def test_compact_leaves_one_file_per_pixel(table, make_detections):
    table.merge(make_detections(120, around=(45.0, 10.0, 3.0)))
    table.merge(make_detections(50, seed=1, first=500, around=(45.0, 10.0, 3.0)))
    before = table.read()
    assert len(table.snapshot().files) > len(table.snapshot().pixels())
    assert table.compact().version == table.version()
    assert len(table.snapshot().files) == len(table.snapshot().pixels())
    assert table.read().equals(before)
    assert table.compact().version is None
    assert table.history()[0]["operation"] == "compact"


def test_compact_of_a_table_without_pixels(storage, flat_declaration):
    table = Table(storage, flat_declaration)
    for turn, count in enumerate((40, 20, 10)):
        table.merge([{"stage": f"s{turn}", "expid": n, "seconds": None} for n in range(count)])
    assert len(table.snapshot().files) == 3
    table.compact()
    assert len(table.snapshot().files) == 1
    assert table.count() == 70
    assert table.repartition().version is None


def test_repartition_splits_what_is_too_full(table, make_detections):
    rows = make_detections(1500, around=(45.0, 10.0, 2.0))
    table.merge(rows)
    before = table.read()
    assert table.repartition().version is not None
    counts = [sum(file.rows for file in files) for files in table.snapshot().pixels().values()]
    assert max(counts) <= table.declaration.healpix.max_rows
    assert sum(counts) == 1500
    assert table.read().equals(before)
    assert table.merge(rows).version is None
    assert table.repartition().version is None


def test_a_pile_of_rows_on_one_spot_is_not_split_for_ever(local_storage, declaration, make_detections):
    partition = HealpixPartition(kind="healpix", ra="ra", dec="dec", order=1, max_rows=5)
    table = Table(local_storage, declaration.model_copy(update={"partition": partition}))
    table.merge(make_detections(50, around=(45.0, 10.0, 1e-7)))
    table.repartition()
    assert table.count() == 50
    assert table.repartition().version is None


def test_small_merges_leave_few_files(local_table, make_detections):
    for turn in range(32):
        local_table.merge(make_detections(4, seed=turn, first=4 * turn, around=(45.0, 10.0, 0.1)))
    assert local_table.count() == 128
    assert len(local_table.snapshot().files) <= 6


def test_vacuum_keeps_the_newest_version_and_takes_the_rest(table, make_detections):
    table.merge(make_detections(50, around=(45.0, 10.0, 3.0)))
    old = table.version()
    table.merge(make_detections(50, seed=1, around=(45.0, 10.0, 3.0)))
    table.storage.put_bytes_atomically(
        b"left by a killed writer", f"{table.folder}/Norder=1/Dir=0/Npix=9/part-0.parquet"
    )
    now = table.read()
    assert len(table.vacuum(0)) >= 2
    assert table.read().equals(now)
    with pytest.raises(TransientError, match=f"version {old} is no longer whole"):
        table.read(version=old)


def test_a_retention_of_less_than_an_hour_is_not_none(table, make_detections):
    table.merge(make_detections(50))
    old = table.version()
    table.merge(make_detections(50, seed=1))
    assert table.vacuum(0.5) == []
    assert table.count(version=old) == 50


def test_a_declaration_may_gain_nullable_columns(table, storage, declaration, make_detections):
    table.merge(make_detections(20, around=(45.0, 10.0, 3.0)))
    old = table.version()
    wider = Table(storage, widened(declaration))
    assert wider.read().column("colour").null_count == 20
    assert wider.cone(45.0, 10.0, 20_000.0).num_rows > 0
    rows = [{**row, "colour": 1.5} for row in make_detections(5, around=(45.0, 10.0, 3.0)).to_pylist()]
    assert wider.merge(rows).updated == 5
    assert wider.read(["detid", "colour"]).column("colour").null_count == 15
    assert wider.read(version=old).column("colour").null_count == 20
    assert wider.count({"colour": 1.5}) == 5
    with pytest.raises(ConfigurationError, match="column colour is not declared any more"):
        table.read()


def test_any_other_difference_is_refused(local_table, local_storage, declaration, make_detections):
    local_table.merge(make_detections(3))

    def refused(changed, message):
        other = Table(local_storage, changed)
        with pytest.raises(ConfigurationError, match=message):
            other.read()
        with pytest.raises(ConfigurationError, match=message):
            other.delete({"detid": 1})

    def with_mag(**changes):
        columns = [c.model_copy(update=changes) if c.name == "mag" else c for c in declaration.columns]
        return declaration.model_copy(update={"columns": tuple(columns)})

    refused(widened(declaration, nullable=False), "column colour is new and not nullable")
    refused(with_mag(type="float64"), "column mag is float in the table, double in its declaration")
    refused(with_mag(nullable=False), "column mag is float in the table, float not null in its declaration")
    refused(
        declaration.model_copy(update={"key": ("detid", "expid")}),
        "property zsds.key of the table is 'detid'",
    )


def test_duckdb_and_polars_read_the_same_rows(local_table, make_detections):
    import duckdb
    import polars as pl

    local_table.merge(make_detections(300))
    local_table.merge(make_detections(200, seed=1, first=200))
    ours = local_table.read(["detid", "ra"])
    detections = local_table.dataset()
    found = duckdb.sql("select detid, ra from detections order by detid").to_arrow_table()
    assert found.column("ra").to_pylist() == ours.column("ra").to_pylist()
    assert duckdb.sql("select count(*) from detections").fetchall() == [(400,)]
    frame = pl.scan_delta(local_table.uri).select("detid", "ra").sort("detid").collect()
    assert frame["ra"].to_list() == ours.column("ra").to_pylist()
    assert detections.count_rows() == 400


def test_versions_younger_than_what_is_kept_survive_checkpoints(local_table, make_detections, monkeypatch):
    """Checkpoints forget what was removed longer ago than the table says; vacuum then goes by age alone."""
    clock = time.time
    local_table.merge(make_detections(12))
    for path in Path(local_table.uri).rglob("*.parquet"):
        os.utime(path, (clock() - 40 * DAY_S, clock() - 40 * DAY_S))
    with monkeypatch.context() as patch:
        patch.setattr(delta.time, "time", lambda: clock() - 10 * DAY_S)
        local_table.merge(make_detections(12, seed=1))
    for seed in range(2, 27):
        local_table.merge(make_detections(3, seed=seed))
    local_table.vacuum(delta.KEPT_DAYS * 24.0)
    assert local_table.read(version=1).num_rows == 12
