"""Real light curves in our tables: ZTF DR5, and RR Lyrae of Stripe 82 with published periods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsds_tasks.catalog import flat_curves, open_catalog, period_of
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.publish import latest
from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.science.variability.candidates import find_candidates
from zsds_tasks.science.variability.statistics import measure_statistics
from zsds_tasks.settings import Settings

EPOCHS = ("hmjd", "mag", "magerr", "clrcoeff", "catflags")
PUBLISHED_MARK = 14.7
"""Bytes per epoch of ZTF's Parquet release."""


@pytest.fixture(scope="module")
def dr5(real_data, tmp_path_factory):
    """The official rows, and a lake into whose table they were loaded and published."""
    given = pq.read_table(real_data / "lightcurves" / "ztf_dr5_000250_zg_c01_q1_part.parquet")
    schema = row_schema(load_table("lightcurves"))
    nested = schema.field("lightcurve").type
    lists = [given.column(name).combine_chunks().cast(nested.field(name).type) for name in EPOCHS]
    cells = pa.StructArray.from_arrays(lists, fields=list(nested))
    columns = [cells if f.name == "lightcurve" else given.column(f.name).cast(f.type) for f in schema]
    settings = Settings(var=tmp_path_factory.mktemp("dr5"), workers=1)
    lakehouse = open_lakehouse(settings)
    lakehouse.table("lightcurves").merge(pa.table(columns, schema=schema))
    lakehouse.publish("lightcurves")
    return given, settings


def test_real_light_curves_come_back_as_they_were_released(dr5):
    given, settings = dr5
    catalog = open_catalog(None, settings)
    for row in given.to_pylist()[::400]:
        curve = catalog.light_curve(row["objectid"])
        assert len(curve) == row["nepochs"]
        assert all(np.array_equal(getattr(curve, name), row[name]) for name in EPOCHS)
        near = catalog.cone("lightcurves", row["objra"], row["objdec"], 0.5, ["objectid"])
        assert near["objectid"][0].as_py() == row["objectid"]
    assert catalog.source("lightcurves").rows == given.num_rows


def test_statistics_of_the_release_are_those_of_the_file(dr5):
    given, settings = dr5
    parts = open_catalog(None, settings).partitions("lightcurves", ["objectid", "lightcurve"])
    rows = pa.concat_tables(part.read() for part in parts).sort_by("objectid")
    found = measure_statistics(flat_curves(rows))
    for k, row in list(enumerate(given.sort_by("objectid").to_pylist()))[::200]:
        good = np.array(row["catflags"]) == 0
        mag = np.array(row["mag"], np.float64)[good]
        assert found.ngoodobs[k] == good.sum()
        if len(mag) > 1:
            assert found.meanmag[k] == pytest.approx(mag.mean(), rel=1e-6)
            assert found.magrms[k] == pytest.approx(mag.std(ddof=1), rel=1e-5)
    # As docs/variability.md says of the same file read directly.
    enough = found.ngoodobs >= 10
    candidates = find_candidates(found)
    assert enough.sum() == 1063
    assert int(candidates.is_candidate[enough].sum()) == 15


def test_a_real_epoch_takes_fewer_bytes_than_in_the_public_release(dr5):
    given, settings = dr5
    published = latest(open_lakehouse(settings).storage, "lightcurves")
    files = Path(published.uri, "lightcurves").rglob("Npix=*.parquet")
    epochs = pa.compute.sum(given["nepochs"]).as_py()
    assert sum(path.stat().st_size for path in files) / epochs < PUBLISHED_MARK


def test_periods_of_real_rr_lyrae_are_the_published_ones(real_data, tmp_path):
    folder = real_data / "lightcurves"
    known = pq.read_table(folder / "s82_rrlyrae_periods.parquet")
    known = known.filter(pa.compute.field("rr_type") == "ab").to_pylist()[5::80]
    points = pq.read_table(folder / "s82_rrlyrae_lightcurves.parquet")
    rows = []
    for number, star in enumerate(known):
        mine = points.filter(pa.compute.field("name") == star["name"])
        for fid, band in enumerate("ugriz", 1):
            one = mine.filter(pa.compute.field("band") == band).sort_by("time")
            n = one.num_rows
            cells = {"hmjd": one["time"], "mag": one["mag"], "magerr": one["magerr"]}
            cells = {name: values.to_pylist() for name, values in cells.items()}
            rows.append({
                "objectid": 10 * number + fid, "filterid": fid, "fieldid": 1, "rcid": 0, "nepochs": n,
                "objra": 10.0 + 0.01 * number, "objdec": 0.0,
                "lightcurve": cells | {"clrcoeff": [0.0] * n, "catflags": [0] * n},
            })  # fmt: skip
    settings = Settings(var=tmp_path, workers=1)
    open_lakehouse(settings).table("lightcurves").merge(rows)
    catalog = open_catalog("live", settings)
    right = 0
    for number, star in enumerate(known):
        curves = catalog.light_curves(10 * number + 3)
        assert [curve.filterid for curve in curves] == [1, 2, 3, 4, 5]
        right += abs(period_of(curves) / star["period_d"] - 1) < 1e-3
    assert right == len(known) > 2
