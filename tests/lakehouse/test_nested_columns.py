"""Tables whose cells are tables: what a light curve is stored as."""

from __future__ import annotations

import warnings

import deltalake
import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import DeclarationError, UnusableInputError
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import arrow_schema, conform, parse_table

DECLARATION = """
table: curves
description: Light curves of a few objects.
key: [objectid]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 4}
columns:
  - {name: objectid, type: int64, description: Object.}
  - {name: ra, type: float64, unit: deg, description: Right ascension.}
  - {name: dec, type: float64, unit: deg, description: Declination.}
  - name: lightcurve
    type: nested
    description: Epochs.
    columns:
      - {name: hmjd, type: float64, unit: d, description: Time.}
      - {name: mag, type: float32, unit: mag, description: Magnitude.}
"""


def curve(number, *magnitudes):
    nested = {"hmjd": [60000.0 + k for k in range(len(magnitudes))], "mag": list(magnitudes)}
    return {"objectid": number, "ra": 10.0 + number / 1000, "dec": 1.0 + number / 100, "lightcurve": nested}


@pytest.fixture
def table(tmp_path):
    return Table(open_storage(str(tmp_path)), parse_table(DECLARATION))


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(10, 22, width=32), max_size=5), min_size=1, max_size=6))
def test_what_is_stored_is_what_is_read_and_storing_it_again_changes_nothing(tmp_path_factory, curves):
    made = Table(open_storage(str(tmp_path_factory.mktemp("lake"))), parse_table(DECLARATION))
    rows = [curve(number, *magnitudes) for number, magnitudes in enumerate(curves)]
    made.merge(rows)
    assert made.read().to_pylist() == rows
    assert made.merge(rows).version is None


def test_one_changed_epoch_updates_one_object(table):
    rows = [curve(1, 15.0, 16.0), curve(2), curve(3, 17.0)]
    table.merge(rows)
    rows[0] = curve(1, 15.0, 16.5)
    commit = table.merge(rows)
    assert (commit.inserted, commit.updated, commit.deleted) == (0, 1, 0)


@pytest.mark.parametrize(
    ("nested", "fact"),
    [
        ({"hmjd": [1.0, 2.0], "mag": [15.0]}, "row 1: lists of different lengths"),
        ({"hmjd": [1.0], "mag": None}, "row 1: lists of different lengths"),
        ({"hmjd": [1.0, None], "mag": [15.0, 15.0]}, "a null inside a list"),
    ],
)
def test_uneven_lists_are_refused_with_their_row(table, nested, fact):
    with pytest.raises(UnusableInputError, match=fact):
        table.merge([curve(1, 15.0), curve(2) | {"lightcurve": nested}])


def test_a_nested_declaration_must_make_sense():
    for wrong, right in (
        ("type: nested", "type: int64"),
        ("type: float32, unit: mag", "type: list<float32>, unit: mag"),
        ("name: mag", "name: hmjd"),
    ):
        assert wrong in DECLARATION
        with pytest.raises(DeclarationError, match=r"lightcurve"):
            parse_table(DECLARATION.replace(wrong, right))


@pytest.mark.filterwarnings("ignore")  # those of LSDB and Dask
def test_duckdb_and_lsdb_read_the_nested_column(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lsdb

    table.merge([curve(number, *([15.0 + number] * (number % 3))) for number in range(12)])
    live = deltalake.DeltaTable(table.uri).to_pyarrow_dataset()
    found = duckdb.sql("select objectid, list_avg(lightcurve.mag) from live where objectid = 4").fetchall()
    assert live.schema.get_field_index("lightcurve") >= 0
    assert found == [(4, 19.0)]
    read = lsdb.open_catalog(publish(table).uri).compute()
    assert len(read) == 12
    assert read["lightcurve.mag"].sum() == sum((15.0 + n) * (n % 3) for n in range(12))


def test_columns_of_other_orders_and_widths_are_brought_to_the_declared(table):
    given_ = pa.Table.from_pylist([curve(1, 15.0)])
    assert conform(given_, table.declaration).schema == arrow_schema(table.declaration).remove(0)
