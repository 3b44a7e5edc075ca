"""Scoring of raw ingest: perfect when everything ended as it should, and every mistake named."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scene_builders import NIGHT, make_night, make_world

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.products.tables import load_table
from zsds_tasks.simulator.delivery.courier import DELIVERY_SCHEMA
from zsds_tasks.simulator.score import score_raw
from zsds_tasks.simulator.truth.tables import exposure_table, write_truth
from zsds_tasks.survey.nights import mjd

DEFAULTS = {
    "bool": False,
    "string": "x",
    "float32": 1.0,
    "float64": 1.0,
    "timestamp": dt.datetime(2025, 11, 15, tzinfo=dt.UTC),
}
PATTERNED = {
    "night": str(NIGHT),
    "filtercode": "zr",
    "filefracday": "20251115123456",
    "obsjd": 2460994.5,
    "saturation": 58000.0,
    "file_size": 10_000,
    "ccdid": 1,
    "hdu": 1,
    "qid": 1,
    "n_ccds": 2,
    "n_ccds_expected": 2,
}


def make_row(table, **values):
    """A row that conforms to its declaration: given values, and something of the right type elsewhere."""
    row = {}
    for column in load_table(table).columns:
        plain = None if column.nullable else DEFAULTS.get(str(column.type), 1)
        row[column.name] = values.get(column.name, PATTERNED.get(column.name, plain))
    return row


def made(sequence, exposure, ccdid, expected="ingested", fault="none"):
    """One delivery; its checksum names sequence and file."""
    name = str(exposure.raw_name(make_world().site.survey, ccdid))
    return {
        "sequence": sequence,
        "expid": exposure.expid,
        "ccdid": ccdid,
        "imgtypecode": exposure.imgtypecode,
        "programid": exposure.programid,
        "name": name,
        "bytes": 10_000,
        "sha256": f"{exposure.expid:060d}{ccdid:04d}",
        "fault": fault,
        "expected": expected,
    }


@pytest.fixture
def deliveries():
    first, second, third = make_night().exposures[-3:]
    rows = [made(0, first, 1), made(1, first, 2), made(2, second, 1)]
    rows.append(made(3, second, 2, "quarantined", "truncated"))
    rows.append(made(4, third, 1))
    rows.append(made(5, third, 1, "duplicate", "duplicate"))
    rows.append(made(6, third, 2, "missing", "lost"))
    rows.append(made(7, third, 1, "replaced", "duplicate"))
    return rows


def exposure_row(exposure, n_ccds):
    return make_row(
        "raw_exposures",
        expid=exposure.expid,
        field=exposure.field,
        fid=exposure.fid,
        imgtypecode=exposure.imgtypecode,
        programid=exposure.programid,
        is_science=True,
        n_ccds=n_ccds,
        obsmjd=mjd(exposure.start),
        exptime=exposure.exptime_s,
        ra=exposure.header_ra,
        dec=exposure.header_dec,
    )


def quadrant_rows(delivery):
    return [
        make_row(
            "raw_quadrants",
            expid=delivery["expid"],
            rcid=4 * (delivery["ccdid"] - 1) + qid - 1,
            ccdid=delivery["ccdid"],
            qid=qid,
            filename=delivery["name"],
            sha256=delivery["sha256"],
        )
        for qid in (1, 2, 3, 4)
    ]


@pytest.fixture
def night(settings, deliveries):
    """A lakehouse in which everything ended as it should, and the truth beside it."""
    exposures = make_night().exposures[-3:]
    write_truth(
        settings.truth_folder,
        NIGHT,
        {
            "deliveries": pa.Table.from_pylist(deliveries, schema=DELIVERY_SCHEMA),
            "exposures": exposure_table(exposures, [True] * 3),
        },
    )
    lakehouse = open_lakehouse(settings)
    good = [row for row in deliveries if row["expected"] == "ingested"]
    lakehouse.table("raw_quadrants").merge([q for row in good for q in quadrant_rows(row)])
    counts = [sum(row["expid"] == e.expid for row in good) for e in exposures]
    lakehouse.table("raw_exposures").merge(
        [exposure_row(e, n) for e, n in zip(exposures, counts, strict=True)]
    )
    bad = [row for row in deliveries if row["expected"] == "quarantined"]
    lakehouse.table("quarantine").merge(
        [make_row("quarantine", filename=row["name"], sha256=row["sha256"]) for row in bad]
    )
    return lakehouse, settings.truth_folder


def test_a_night_that_went_right_is_perfect(night):
    score = score_raw(*night, NIGHT)
    assert score.is_perfect
    assert (score.delivered, score.ingested, score.quarantined) == (7, 4, 1)
    assert (score.duplicates, score.replaced, score.missing, score.exposures) == (1, 1, 1, 3)
    assert (score.ingest_completeness, score.ingest_purity) == (1.0, 1.0)
    assert (score.quarantine_completeness, score.quarantine_purity) == (1.0, 1.0)
    assert score.mistakes.num_rows == 0
    assert "mistakes" not in score.numbers()


def test_an_empty_lakehouse_missed_everything(settings, night):
    empty = open_lakehouse(settings.model_copy(update={"root": str(settings.var / "other")}))
    score = score_raw(empty, night[1], NIGHT)
    assert (score.ingested, score.quarantined, score.missing) == (0, 0, 1)
    assert (score.ingest_completeness, score.ingest_purity) == (0.0, 1.0)
    assert score.wrong_exposures == 3


def test_a_lost_channel_is_named(night, deliveries):
    lakehouse, truth = night
    lakehouse.table("raw_quadrants").delete({"expid": deliveries[0]["expid"], "rcid": 2})
    score = score_raw(lakehouse, truth, NIGHT)
    assert score.wrong == 1
    assert score.ingest_completeness == 0.75
    assert score.mistakes.to_pylist() == [
        {"subject": deliveries[0]["name"], "expected": "ingested", "found": "3 of 4 readout channels"}
    ]


def test_a_bad_file_let_in_spoils_purity(night, deliveries):
    lakehouse, truth = night
    lakehouse.table("quarantine").delete({"sha256": deliveries[3]["sha256"]})
    lakehouse.table("raw_quadrants").merge(quadrant_rows(deliveries[3]))
    score = score_raw(lakehouse, truth, NIGHT)
    assert (score.ingest_purity, score.quarantine_completeness) == (0.8, 0.0)
    assert score.mistakes["found"].to_pylist() == ["ingested"]


def test_a_good_file_refused_and_a_file_from_nowhere_are_wrong(night, deliveries):
    lakehouse, truth = night
    nowhere = make_row("quarantine", filename="who.fits.fz", sha256="f" * 64)
    refused = make_row("quarantine", filename=deliveries[1]["name"], sha256=deliveries[1]["sha256"])
    lakehouse.table("quarantine").merge([nowhere, refused])
    score = score_raw(lakehouse, truth, NIGHT)
    found = dict(zip(*(score.mistakes[c].to_pylist() for c in ("subject", "found")), strict=True))
    assert found == {deliveries[1]["name"]: "quarantined and ingested", "who.fits.fz": "a row"}
    assert score.quarantine_purity == pytest.approx(1 / 3)


def test_wrong_values_of_an_exposure_are_named(night):
    lakehouse, truth = night
    exposure = make_night().exposures[-1]
    row = exposure_row(exposure, 1) | {"field": 999, "ra": (exposure.header_ra + 0.01) % 360}
    lakehouse.table("raw_exposures").merge([row])
    score = score_raw(lakehouse, truth, NIGHT)
    assert score.wrong == 0
    assert not score.is_perfect
    assert set(score.mistakes["subject"].to_pylist()) == {
        f"exposure {exposure.expid} field",
        f"exposure {exposure.expid} ra",
    }


def test_other_nights_do_not_count(night):
    lakehouse, truth = night
    other = make_row("quarantine", filename="a.fits.fz", sha256="e" * 64, night="20240101")
    lakehouse.table("quarantine").merge([other])
    assert score_raw(lakehouse, truth, NIGHT).is_perfect
    assert pc.count(lakehouse.table("quarantine").read()["sha256"]).as_py() == 2


def test_a_night_that_was_not_simulated_has_no_score(settings):
    with pytest.raises(NothingToDoError, match="no truth for this night"):
        score_raw(open_lakehouse(settings), settings.truth_folder, NIGHT)
