"""The score of variability: what varies is told from what does not, by what truly shines at its place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.products.tables import load_table
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.score_variability import assess_variability, with_variability
from zsds_tasks.simulator.truth.objects import OBJECT_SCHEMA
from zsds_tasks.simulator.truth.tables import DETECTION_SCHEMA, write_truth
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
UNIT = {"field": 4, "fid": 2, "rcid": 5}
EPOCHS, MAGERR, PIXEL = 14, 0.02, 4
KINDS = (*["variable"] * 8, "transient", "galaxy", *["star"] * 4)
PERIOD, ARCSEC = 0.5, 1 / 3600
PURITY, COMPLETENESS = "purity of candidate variables", "completeness of candidate variables"
PERIODS = "sure periods that are right"


def blank(table, **cells):
    """Return a row: what is not told is null, or nothing of its type."""
    nothing = {"bool": False, "string": ""}
    columns = load_table(table).columns
    zero = {c.name: [] if c.type.startswith("list") else nothing.get(c.type, 0) for c in columns}
    return zero | {c.name: None for c in columns if c.nullable} | cells


def planted(**cells):
    """Return a true source; it lies at the place of the n-th object."""
    return {"kind": "star", "mag": 17.0, "amplitude": 0.0, "east": 0.0} | cells


def sky():
    """Return the true sources: one at the place of each object."""
    amplitude = {"variable": 0.4, "transient": 2.0}
    return [planted(n=n, kind=kind, amplitude=amplitude.get(kind, 0.0)) for n, kind in enumerate(KINDS)]


def objects(said):
    """Return the rows of the objects, of which some are said to vary."""
    found = []
    for n in range(len(KINDS)):
        members = {"objectid": [n], "filterid": [2], "fieldid": [4], "rcid": [5]}
        members |= {"separation": [0.0], "nepochs": [EPOCHS]}
        place = {"objectid": n, "ra": place_of(n), "dec": 12.0, "pixel": PIXEL}
        found.append(blank("objects", **place, is_candidate=n in said, members=members))
    return found


def place_of(n):
    # To both sides of the meridian where right ascension starts again.
    return (n - 3) * 0.01 % 360.0


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Return a lake of one unit with its epochs, and where the truth goes."""
    settings = Settings(var=tmp_path_factory.mktemp("lake"), camera="mini")
    lakehouse, image = open_lakehouse(settings), UNIT | {"night": str(NIGHT), "status": 1}
    stars, pids, member = range(len(KINDS)), range(EPOCHS), {"fieldid": 4, "filterid": 2, "rcid": 5}
    tables = {
        "science_images": [blank("science_images", pid=k, expid=100 + k, **image) for k in pids],
        "measured_units": [blank("measured_units", **UNIT, pixels=[PIXEL], night=str(NIGHT))],
        "epochs": [
            blank("epochs", objectid=n, pid=pid, sourceid=n, objra=place_of(n), objdec=12.0, **UNIT)
            for n in stars
            for pid in pids
        ],
        "lightcurve_statistics": [
            blank("lightcurve_statistics", objectid=n, medmagerr=MAGERR, **member) for n in stars
        ],
    }
    for name, content in tables.items():
        lakehouse.table(name).merge(content)
    return lakehouse, settings.var / "truth"


@pytest.fixture
def scored(lake):
    """Return a function that scores objects against true sources."""
    lakehouse, truth = lake

    def run(rows, sources):
        lakehouse.table("objects").merge(rows)
        write_truth(truth, NIGHT, {"detections": detections(sources), "objects": true_objects(sources)})
        return assess_variability(lakehouse, truth, NIGHT)

    return run


def detections(sources):
    rows = []
    for number, source in enumerate(sources):
        for k in range(EPOCHS):
            mag = source["mag"] + source["amplitude"] * np.sin(2.4 * k + number)
            ra = place_of(source["n"]) + source["east"] / np.cos(np.radians(12.0))
            told = {"expid": 100 + k, "object_id": 1000 + number, "ra": ra % 360, "dec": 12.0 + 0.2 * ARCSEC}
            zero = dict.fromkeys(DETECTION_SCHEMA.names, 0)
            rows.append(zero | told | {"rcid": 5, "kind": source["kind"], "mag": mag})
    return pa.Table.from_pylist(rows, schema=DETECTION_SCHEMA)


def true_objects(sources):
    rows = [
        dict.fromkeys(OBJECT_SCHEMA.names)
        | {
            "object_id": 1000 + n,
            "kind": s["kind"],
            "period_days": PERIOD if s["kind"] == "variable" else None,
        }
        for n, s in enumerate(sources)
    ]
    return pa.Table.from_pylist(rows, schema=OBJECT_SCHEMA)


def numbers(score):
    return {measure.measure: measure for measure in score.measures}


def test_what_varies_and_is_said_to_meets_all(scored):
    score = scored(objects(range(9)), sky())
    found = numbers(score)
    assert set(found) == {PURITY, COMPLETENESS}  # no period was given
    assert found[PURITY].value == found[COMPLETENESS].value == 1
    assert found[PURITY].sentence.startswith("9 of 9 ")
    assert found[COMPLETENESS].sentence.startswith("8 of 8 ")
    assert score.objects == {str(n): KINDS[n] for n in range(9)}


def test_stars_and_galaxies_said_to_vary_are_wrong_and_named(scored):
    score = scored(objects(range(5, 14)), sky())
    purity = numbers(score)[PURITY]
    assert (purity.value, purity.ok) == (pytest.approx(4 / 9, abs=1e-4), False)
    assert "4 of 9" in purity.sentence
    assert "wrong: 1 galaxy, 4 star" in purity.sentence
    assert score.objects["9"] == "bogus: galaxy"


def test_variables_that_nobody_calls_so_are_missed(scored):
    found = numbers(scored(objects(range(3)), sky()))
    assert (found[COMPLETENESS].value, found[COMPLETENESS].ok) == (0.375, False)
    assert PURITY not in found  # of three candidates nothing is said


def test_one_of_few_that_fails_is_no_failure_of_all(scored):
    found = numbers(scored(objects((*range(7), 13)), sky()))
    assert found[COMPLETENESS].value == found[PURITY].value == 0.875
    assert found[COMPLETENESS].ok
    assert found[PURITY].ok


def test_variables_within_their_errors_need_not_be_found(scored):
    sources = [source | {"amplitude": min(source["amplitude"], 0.1)} for source in sky()[:3]]
    assert numbers(scored(objects(()), [*sources, *sky()[3:]]))[COMPLETENESS].sentence.startswith("0 of 5")


def test_what_is_lost_in_the_light_of_a_neighbour_makes_no_star_a_variable(scored):
    bright = [planted(n=n, mag=12.0, east=0.4 * ARCSEC) for n in range(4)]
    apart = [planted(n=n, mag=12.0, east=3 * ARCSEC) for n in range(4, 8)]
    score = scored(objects(range(9)), sky() + bright + apart)
    assert [score.objects[str(n)] for n in range(9)] == ["bogus: star"] * 4 + [*KINDS[4:9]]
    assert COMPLETENESS not in numbers(score)


@pytest.mark.parametrize("sources", [[], [source | {"east": 5 * ARCSEC} for source in sky()]])
def test_where_nothing_is_nothing_varies(scored, sources):
    score = scored(objects(range(6)), sources)
    assert numbers(score)[PURITY].value == 0
    assert set(score.objects.values()) == {"bogus: nothing"}


def test_sure_periods_are_held_against_the_true_ones(scored):
    rows = objects(range(9))
    for n, row in enumerate(rows[:9]):
        period = PERIOD * (1.5 if n == 0 else 1.0005)
        row |= {"period": period, "log_false_alarm": -1.0 if n == 1 else -9.0, "is_suspect": n == 2}
    found = numbers(scored(rows, sky()))[PERIODS]
    assert found.sentence.startswith("5 of 6 ")
    assert found.value == pytest.approx(5 / 6, abs=1e-4)


def test_nights_without_objects_or_truth_say_nothing(scored, lake, tmp_path):
    scored(objects(range(9)), sky())
    (here, truth), empty = lake, open_lakehouse(Settings(var=tmp_path, camera="mini"))
    assert assess_variability(empty, truth, NIGHT).measures == []
    assert assess_variability(here, tmp_path, NIGHT).measures == []
    assert assess_variability(here, truth, ObservingNight.parse("20251013")).measures == []


def test_the_report_gets_measures_and_words(scored):
    score = scored(objects(range(9)), sky())
    report = with_variability({"sentence": "All is well.", "measures": [{"measure": "files"}]}, score)
    assert [m["measure"] for m in report["measures"]] == ["files", PURITY, COMPLETENESS]
    assert (report["sentence"], report["variables"]["8"]) == ("All is well.", "transient")
