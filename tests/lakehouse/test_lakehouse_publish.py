"""Publications: strictly valid HATS, equal to the table, untouched by vacuum, never half a one."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.errors import ConfigurationError, NothingToDoError
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.publish import expire, latest, publish, sweep_unfinished, versions
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import INDEX_COLUMN, arrow_schema

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def published_rows(storage, published):
    return HatsReader(published.uri, getattr(storage, "_settings", None)).read().sort_by("detid")


def test_a_publication_shows_exactly_the_live_rows(storage, table, make_detections):
    table.merge(make_detections(600, around=(45.0, 10.0, 8.0)))
    table.merge(make_detections(300, seed=1, around=(45.0, 10.0, 8.0)))
    published = publish(table, now=NOW)
    assert (published.rows, published.version) == (600, 1)
    assert published.table_version == table.version()
    everything = table.read([INDEX_COLUMN, *table.declaration.names])
    assert published_rows(storage, published).equals(everything)
    assert latest(storage, "detections") == published


def test_an_unchanged_table_is_not_published_again(storage, table, make_detections):
    table.merge(make_detections(100, around=(45.0, 10.0, 8.0)))
    first = publish(table, now=NOW)
    assert publish(table) == first
    table.vacuum(0)
    assert publish(table) == first
    table.delete({"detid": 5})
    second = publish(table)
    assert (second.version, second.rows) == (2, 99)


def test_publications_survive_vacuum(storage, table, make_detections):
    table.merge(make_detections(200, around=(45.0, 10.0, 8.0)))
    first = publish(table)
    before = published_rows(storage, first)
    table.merge(make_detections(200, seed=2, around=(45.0, 10.0, 8.0)))
    assert table.vacuum(0)
    assert published_rows(storage, first).equals(before)
    assert publish(table).rows == 200
    assert table.read().num_rows == 200


def test_pixels_that_are_too_full_are_split(table, make_detections):
    table.merge(make_detections(1000, around=(45.0, 10.0, 3.0)))
    published = publish(table)
    reader = HatsReader(published.uri, getattr(table.storage, "_settings", None))
    assert len(reader.pixels) > 1
    assert int(reader.properties["hats_max_rows"]) <= table.declaration.healpix.max_rows
    assert table.repartition().version is None
    again = table.merge(make_detections(10, seed=3, first=2000, around=(45.0, 10.0, 3.0)))
    assert again.inserted == 10
    assert publish(table).rows == 1010


def test_a_gained_column_is_published_for_old_rows_too(
    local_storage, local_table, declaration, make_detections
):
    local_table.merge(make_detections(50, around=(45.0, 10.0, 8.0)))
    columns = [*declaration.columns, declaration.column("mag").model_copy(update={"name": "colour"})]
    wider = Table(local_storage, declaration.model_copy(update={"columns": tuple(columns)}))
    published = publish(wider)
    reader = HatsReader(published.uri)
    assert reader.schema.equals(arrow_schema(wider.declaration), check_metadata=True)
    assert reader.read(["colour"]).column(0).null_count == 50


def test_nothing_to_publish(table, flat_declaration, make_detections):
    with pytest.raises(NothingToDoError, match="detections: has no rows to publish"):
        publish(table)
    with pytest.raises(ConfigurationError, match="runs: is not laid out over the sky and cannot be a HATS"):
        publish(Table(table.storage, flat_declaration))


def test_unfinished_publications_are_never_latest_and_are_swept(storage, table, make_detections):
    table.merge(make_detections(20, around=(45.0, 10.0, 8.0)))
    first = publish(table, now=NOW)
    claim = json.dumps({"whole": False, "created": NOW.isoformat()}).encode()
    storage.put_bytes_atomically(claim, paths.publication("detections", 2), exclusive=True)
    storage.put_bytes_atomically(b"half", f"{paths.collection_version('detections', 2)}/x")
    assert latest(storage, "detections") == first
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(hours=7)
    assert sweep_unfinished(storage, "detections", older_than_hours=6, now=soon) == []
    assert sweep_unfinished(storage, "detections", older_than_hours=6, now=later) == [2]
    assert versions(storage, "detections") == [1]


def test_expire_keeps_the_newest(storage, table, make_detections):
    for seed in range(4):
        table.merge(make_detections(5, seed=seed, around=(45.0, 10.0, 1.0)))
        publish(table)
    assert expire(storage, "detections", keep=2) == [1, 2]
    assert versions(storage, "detections") == [3, 4]
    assert latest(storage, "detections").version == 4


@pytest.fixture(scope="module")
def lsdb():
    # Its import takes seconds, and warns; so does Dask at work: theirs, not ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lsdb

    return lsdb


@pytest.mark.filterwarnings("ignore")
def test_hats_and_lsdb_accept_a_publication(lsdb, local_table, make_detections):
    from hats.io.validation import is_valid_collection

    local_table.merge(make_detections(1200, around=(45.0, 10.0, 4.0)))
    local_table.merge(make_detections(300, seed=1, first=900, around=(45.0, 10.0, 4.0)))
    published = publish(local_table)
    assert is_valid_collection(published.uri, strict=True)
    catalog = lsdb.open_catalog(published.uri)
    assert catalog.margin is not None
    frame = catalog.compute()
    assert len(frame) == published.rows == local_table.count() == 1200
    ours = local_table.read(["detid", "ra", "dec"])
    theirs = pa.Table.from_pandas(frame[["detid", "ra"]], preserve_index=False).sort_by("detid")
    assert np.array_equal(ours.column("ra").to_numpy(), theirs.column("ra").to_numpy())
    centre = (ours["ra"][7].as_py(), ours["dec"][7].as_py())
    cone = catalog.cone_search(*centre, 3600.0).compute()
    assert sorted(cone["detid"]) == local_table.cone(*centre, 3600.0)["detid"].to_pylist()


@pytest.mark.filterwarnings("ignore")
def test_lsdb_opens_a_catalogue_written_from_arrow(lsdb, tmp_path, make_detections):
    from hats.io.validation import is_valid_collection

    rows = make_detections(400, around=(45.0, 10.0, 4.0))
    uri = write_catalog("gaia", rows, str(tmp_path), order=2, max_rows=100, margin_arcsec=60.0)
    assert is_valid_collection(uri, strict=True)
    # Two rows need no margin, and HATS knows no empty one: the collection then has none.
    lonely = write_catalog("two", make_detections(2), str(tmp_path / "two"), order=2)
    assert is_valid_collection(lonely, strict=True)
    assert len(lsdb.open_catalog(uri).compute()) == 400
    assert len(lsdb.open_catalog(lonely).compute()) == 2
