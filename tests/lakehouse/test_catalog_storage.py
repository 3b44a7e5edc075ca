"""The room for analysts on each backend: the same answers from a folder and from S3."""

from __future__ import annotations

import numpy as np
import pytest

from zsds_tasks.catalog.catalog import Catalog
from zsds_tasks.catalog.opening import Found
from zsds_tasks.catalog.sources import Live, Published
from zsds_tasks.errors import TransientError
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.settings import Settings


@pytest.fixture
def catalog(storage, table, make_detections):
    table.merge(make_detections(600, around=(45.0, 10.0, 8.0)))
    settings = getattr(storage, "_settings", None) or Settings()
    uri = publish(table).uri
    makers = {"published": lambda: Published("detections", uri, settings), "live": lambda: Live(table)}
    return Catalog(Found("test", None, makers), settings)


def test_cones_and_identifiers_are_those_of_the_table(catalog, table):
    every = table.read()
    wanted = sorted(table.cone(45.0, 10.0, 7200.0)["detid"].to_pylist())
    assert wanted
    for name in ("published", "live"):
        assert sorted(catalog.cone(name, 45.0, 10.0, 7200.0)["detid"].to_pylist()) == wanted
        assert catalog.ids(name, [5, 599, 7])["detid"].to_pylist() == [5, 599, 7]
        near = catalog.cones(name, np.stack([every["ra"], every["dec"]], axis=1), 1.0, ["detid"])
        assert near.num_rows >= every.num_rows
        assert catalog.duckdb().table(name).count("*").fetchall() == [(600,)]
        assert catalog.polars(name).select("detid").collect().height == 600


def test_a_file_that_vacuum_took_is_told(storage, table, catalog, make_detections):
    assert catalog.cone("live", 45.0, 10.0, 60.0) is not None
    table.merge(make_detections(600, seed=3, around=(45.0, 10.0, 8.0)))
    table.vacuum(0)
    with pytest.raises(TransientError, match="a file of this version is gone"):
        catalog.ids("live", [5])
    assert catalog.ids("published", [5]).num_rows == 1
