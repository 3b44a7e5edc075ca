"""Every declared table is right, becomes Arrow and Delta, and says what an archive must say."""

from __future__ import annotations

import pyarrow as pa
import pytest

from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import arrow_schema, empty, list_tables, load_table
from zsds_tasks.settings import Settings

TABLES = list_tables()


def test_tables_are_declared():
    assert {"raw_exposures", "raw_quadrants"} <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_declaration_is_right(name):
    declaration = load_table(name)
    assert declaration.description.endswith(".")
    for column in declaration.columns:
        assert column.description.endswith("."), column.name
    for key in declaration.key:
        assert not declaration.column(key).nullable


@pytest.mark.parametrize("name", TABLES)
def test_positions_are_marked_as_such(name):
    declaration = load_table(name)
    if declaration.healpix:
        assert declaration.column(declaration.healpix.ra).ucd.startswith("pos.eq.ra")
        assert declaration.column(declaration.healpix.dec).ucd.startswith("pos.eq.dec")


@pytest.mark.parametrize("name", TABLES)
def test_delta_and_back_is_the_same_schema(name, tmp_path):
    from deltalake import DeltaTable

    from zsds_tasks.lakehouse.delta import create_delta, stored_schema

    declaration = load_table(name)
    table = Table(open_storage(str(tmp_path), Settings()), declaration)
    create_delta(table.location)
    stored = pa.schema(DeltaTable(table.uri).schema().to_arrow())
    wanted = stored_schema(declaration)
    assert stored.names == wanted.names
    for have, want in zip(stored, wanted, strict=True):
        assert have.nullable == want.nullable
        assert (have.metadata or {}) == (want.metadata or {})
    assert table.read().equals(empty(declaration))
    assert set(arrow_schema(declaration).names) >= set(declaration.names)
