"""The catalogues of all nights: sound ones break nothing, every seeded defect is named by its sentence."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from science_rows import image_rows, invented_truth, source_table

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.checks import add_lookups, to_pandas
from zsds_tasks.lakehouse.predicates import conditions_of, mask_of
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.lakehouse.suites import RELATION, declared_suite, handwritten_suite
from zsds_tasks.products.tables import INDEX_COLUMN, arrow_schema
from zsds_tasks.settings import Settings
from zsds_tasks.sky import healpix
from zsds_tasks.steps import catalog_checks as step
from zsds_tasks.steps.catalog_parts import Catalogs, packed
from zsds_tasks.steps.lightcurves import update_lightcurves
from zsds_tasks.steps.objects import update_objects
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight

NIGHTS, FIDS, RCID = ("20251012", "20251013"), (1, 2), 2
TABLES = (*step.BY_UNIT, *step.BY_PIXEL)
OFFSETS = {
    "solution": 1, "offset_mag": 0.01, "offset_error": 0.002, "component": 0, "stars": 9,
    "scatter_before": 0.02, "scatter_after": 0.01, "night": NIGHTS[1], "state": "ab",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class InMemory(Catalogs):
    """Catalogues whose tables are at hand, to be broken in ways that no table could be written."""

    tables: dict = dataclasses.field(default_factory=dict)

    def read(self, name, columns, where):
        conditions = conditions_of(where, arrow_schema(self.lakehouse.table(name).declaration), subject=name)
        rows = self.tables[name]
        return rows.filter(pa.array(mask_of(conditions, rows))).select(list(columns))

    def near(self, name, columns, ranges):
        rows = self.tables[name]
        inside = healpix.in_ranges(rows[INDEX_COLUMN].to_numpy(), ranges)
        return rows.filter(pa.array(inside)).select(list(columns))

    def batches(self, name, columns):
        yield self.tables[name].select(list(columns))

    def with_tables(self, **tables):
        return dataclasses.replace(self, tables=self.tables | tables)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Two nights of one field, channel and two filters, from images to objects."""
    settings = Settings(var=tmp_path_factory.mktemp("catalogs"), camera="mini", workers=1)
    camera, lakehouse = load_camera("mini", settings.include), open_lakehouse(settings)
    for night in NIGHTS:
        shots, truths = invented_truth(settings, ObservingNight.parse(night), visits=2, count=300)
        rows, sources = [], []
        for shot in (shot for shot in shots if shot.fid in FIDS):
            rng = np.random.default_rng(shot.expid)
            image, _ = image_rows(camera, shot, camera.quadrants[RCID], rng)
            sources.append(source_table(truths[shot.expid], shot, camera.quadrants[RCID], image, rng))
            rows.append(image)
        lakehouse.table("science_images").merge(rows)
        lakehouse.table("sources").merge(pa.concat_tables(sources))
    assert update_lightcurves(lakehouse, settings).failed == ()
    units = lakehouse.table("matched_units").read(["field", "fid", "rcid"]).to_pylist()
    lakehouse.table("survey_offsets").merge([unit | OFFSETS for unit in units])
    assert update_objects(lakehouse, settings).failed == ()
    return lakehouse, settings


@pytest.fixture(scope="module")
def sound(lake):
    """Return the sound tables, in memory, as stored."""
    lakehouse, settings = lake
    catalogs = step._catalogs(lakehouse, settings)
    names = {*TABLES, "science_images", "sources", "references"}
    tables = {name: lakehouse.table(name) for name in names}
    whole = {name: table.read(arrow_schema(table.declaration).names) for name, table in tables.items()}
    return InMemory(catalogs.lakehouse, catalogs.versions, catalogs.due, whole)


def broken_by(catalogs, settings, table):
    """Return sentence -> (severity, keys of the rows that break it), by the relations alone."""
    declaration = catalogs.lakehouse.table(table).declaration
    suite = handwritten_suite(table, catalogs.lakehouse.include)
    constants = step._constants(settings)
    found = {}
    for part, _ in step._parts(catalogs, settings, (table,), 10**9, None):
        needed = {}
        for lookup in suite.meta.lookups:
            needed.setdefault(lookup.table, set()).update(lookup.there)
        others = {name: part.read(name, sorted(columns)) for name, columns in needed.items()}
        rows = part.read(table, arrow_schema(declaration).names)
        frame = add_lookups(to_pandas(rows), suite.meta.lookups, others, subject=table)
        declared = declared_suite(declaration, indexed=INDEX_COLUMN in frame).expectations
        for expected in (*declared, *suite.expectations):
            if expected.type == RELATION:
                fine = holds(expected.kwargs["relation"], frame, constants)
                keys = frame.loc[~fine, list(declaration.key)].itertuples(index=False, name=None)
                _, known = found.get(expected.description, (None, set()))
                found[expected.description] = expected.severity, known | set(keys)
    return {sentence: case for sentence, case in found.items() if case[1]}


def seeded(rows, changes, stride=1):
    """Return rows some of which are changed, each in its own way, and these rows.

    A row whose change is None goes; one whose change is empty is there twice.
    """
    new = []
    keep = np.ones(rows.num_rows, bool)
    for number, change in enumerate(changes):
        row = rows.slice(stride * number, 1).to_pylist()[0]
        keep[stride * number] = change == {}
        new.append(row | (change(row) if callable(change) else change or {}))
    made = pa.Table.from_pylist([n for n, c in zip(new, changes, strict=True) if c is not None], rows.schema)
    return pa.concat_tables([rows.filter(pa.array(keep)), made]), new


def nested(name, **changes):
    """Return a change of the lists of a nested column."""
    return lambda row: {name: row[name] | {key: make(row[name][key]) for key, make in changes.items()}}


def test_sound_catalogs_break_nothing_and_are_recorded(lake):
    lakehouse, settings = lake
    summary = step.check_catalogs(lakehouse, settings=settings)
    assert [check.table for check in summary.tables] == list(TABLES)
    assert [
        (table, f.expected.description) for s in ("critical", "warning") for table, f in summary.failed(s)
    ] == []
    for check in summary.tables:
        assert check.rows == lakehouse.table(check.table).count()
    results = lakehouse.table("check_results").read(where={"night": "catalogs"})
    assert results.num_rows == summary.total == summary.passed
    page = lakehouse.storage.read_bytes("reports/catalogs/checks/index.html").decode()
    assert "epochs.html" in page
    assert "../index.html" not in page


LATE = 10**6
DEFECTS = [
    ("seeds", {"ra": 200.0}, "The spatial index is that of ra, dec"),
    ("seeds", {"dec": 32.9}, "The spatial index is that of ra, dec"),
    ("seeds", {"fid": 3}, "objectid is made of field, filter, channel"),
    ("seeds", {"rcid": 3}, "objectid is made of field, filter, channel"),
    ("seeds", {"origin": 0}, "The number is from 5 10^7 exactly where"),
    ("seeds", {"fid": 3}, "Every star is of exactly one row of matched_units"),
    ("seeds", {"rfversion": 2}, "The reference is that of the unit"),
    ("seeds", {"rfid": 600120202}, "The reference is of the same field"),
    ("seeds", {"rfid": 600120202}, "There is a version exactly where"),
    ("seeds", {"origin": 0}, "A star that no detection founded is a source"),
    ("seeds", {"pmra": 3.0}, "A star that a detection founded is at rest"),
    ("seeds", {"objectid": 1}, "A star that a detection founded has a light curve"),
    ("seeds", {"sigpos": 0.0}, "Every position has an error"),
    ("seeds", {"pmdec": 12000.0}, "No star moves faster"),
    ("epochs", {"objectid": 7}, "Every epoch is of exactly one star"),
    ("epochs", {"rcid": 3}, "Field, filter and channel are those of the star"),
    ("epochs", {"objra": 10.0}, "The place is that of the star"),
    ("epochs", {"objra": 10.0}, "The spatial index is that of objra, objdec"),
    ("epochs", lambda row: {"dec": row["dec"] + 1e-4}, "The separation is from where the star stood"),
    ("epochs", {"separation": 2.0}, "No detection is farther from its star"),
    ("epochs", lambda row: {"sourceid": row["sourceid"] + LATE}, "Every epoch is exactly one row of sources"),
    ("epochs", {}, "A star is detected at most once"),
    ("epochs", {"objectid": 7}, "Every star with epochs has a light curve"),
    ("epochs", {"pid": 5}, "Every epoch is of exactly one image"),
    ("epochs", {"fid": 9}, "Field, filter and channel are those of the image"),
    ("epochs", lambda row: {"mjd": row["mjd"] + 0.001}, "The time is the middle of the exposure"),
    ("epochs", lambda row: {"hmjd": row["mjd"] + 0.01}, "The Sun is at most 8.5 light minutes away"),
    ("epochs", {"clrcoeff": 0.5}, "The colour coefficient is that of the image"),
    ("epochs", {"mag": 17.123}, "Magnitude and place are those of the source"),
    ("epochs", {"pid": 5}, "The image of every epoch has an offset"),
    ("epochs", {"magerr": 0.0}, "Every magnitude has an error"),
    ("lightcurves", {"fieldid": 9}, "objectid is made of field, filter, channel"),
    ("lightcurves", {"objectid": 9}, "Every light curve is of exactly one star"),
    ("lightcurves", {"filterid": 2}, "Field, filter and channel are those of the star"),
    ("lightcurves", {"objdec": -80.0}, "The place is that of the star"),
    ("lightcurves", {"objdec": -80.0}, "The spatial index is that of objra, objdec"),
    ("lightcurves", {"nepochs": 9}, "All lists of a light curve are nepochs long"),
    ("lightcurves", nested("lightcurve", mag=lambda x: x[1:]), "All lists of a light curve are nepochs long"),
    ("lightcurves", {"nepochs": 9}, "A light curve has all epochs of its star"),
    ("lightcurves", nested("lightcurve", hmjd=lambda x: x[::-1]), "Epochs are in order of time"),
    ("lightcurves", nested("lightcurve", mag=lambda x: [None, *x[1:]]), "No value of an epoch is missing"),
    ("lightcurves", nested("lightcurve", mag=lambda x: [np.nan, *x[1:]]), "No value of an epoch is missing"),
    ("lightcurves", nested("lightcurve", hmjd=lambda x: [x[0] - 1, *x[1:]]), "First and last time are those"),
    ("lightcurves", nested("lightcurve", magerr=lambda x: [0.0, *x[1:]]), "Every magnitude has an error"),
    ("lightcurves", nested("lightcurve", catflags=lambda x: [999, *x[1:]]), "Flags are those of the star"),
    ("photometric_offsets", {"fid": 9}, "Every offset is of exactly one row of matched_units"),
    ("photometric_offsets", {"pid": 5}, "Every offset is of exactly one image"),
    ("photometric_offsets", {"fid": 9}, "Field, filter and channel are those of the image"),
    ("photometric_offsets", {"terms": [0.0]}, "There are five spatial terms"),
    ("photometric_offsets", {"stars": 0}, "An image whose offset rests on no star"),
    ("photometric_offsets", {"offset_error": None}, "An offset without an error is flagged"),
    ("photometric_offsets", {"offset_mag": -7.0}, "An offset is less than 5 mag"),
    ("matched_units", {"stars": 1}, "stars counts the unit's rows of seeds"),
    ("matched_units", {"founded": 1}, "founded counts those that detections founded"),
    ("matched_units", {"epochs": 1}, "epochs counts the unit's rows of epochs"),
    ("matched_units", {"epochs": 1}, "The unit's light curves have as many epochs"),
    ("matched_units", {"images": 1}, "Every image of the unit has an offset"),
    ("matched_units", {"images": 1}, "images counts the images of the unit"),
    ("matched_units", {"images": 0}, "A unit has images"),
    ("matched_units", {"night": NIGHTS[0]}, "night is the newest among the images"),
    ("matched_units", {"rfid": 4120202}, "The stars are of exactly one row of references"),
    ("matched_units", {"rfid": 5120202}, "The reference is of the same field"),
    ("matched_units", {"rfversion": 5}, "There is a version exactly where"),
    ("measured_units", {"fid": 9}, "What was measured is of exactly one row of matched_units"),
    ("measured_units", {"curves": 1}, "curves counts the unit's rows of lightcurve_statistics"),
    ("measured_units", {"candidates": 5}, "candidates counts those that vary"),
    ("measured_units", {"curves": 1}, "Every light curve of the unit was measured"),
    ("measured_units", {"pixels": []}, "A unit with light curves has a say"),
    ("survey_offsets", {"state": "cd"}, "All rows of a solution have the same state"),
    ("survey_offsets", {"offset_mag": 6.0}, "An offset is less than 5 mag"),
    ("lightcurve_statistics", {"rcid": 9}, "objectid is made of field, filter, channel"),
    ("lightcurve_statistics", {"objectid": 9}, "Statistics are of exactly one light curve"),
    ("lightcurve_statistics", {"rcid": 9}, "Field, filter and channel are those of the light curve"),
    ("lightcurve_statistics", {"dec": 1.0}, "The place is that of the light curve"),
    ("lightcurve_statistics", {"dec": 1.0}, "The spatial index is that of ra, dec"),
    ("lightcurve_statistics", {"nobs": 99}, "nobs counts the epochs of the light curve"),
    ("lightcurve_statistics", {"objectid": 9}, "Every light curve is of exactly one object"),
    ("lightcurve_statistics", {"ngoodobs": 99}, "No more epochs are good than there are"),
    ("lightcurve_statistics", {"meanmag": None}, "There is a mean exactly where"),
    ("lightcurve_statistics", {"medianmag": 9.0}, "Means and median lie between"),
    ("lightcurve_statistics", {"amplitude": 4.0}, "amplitude is half of"),
    ("lightcurve_statistics", {"firstmjd": 61000.0}, "The first good epoch is not later"),
    ("lightcurve_statistics", {"percentiles": [1.0]}, "There are twelve percentiles"),
    ("lightcurve_statistics", {"nbelowmeanbystd": [1]}, "Counts beyond the mean are of three distances"),
    ("lightcurve_statistics", {"is_candidate": True, "score": None}, "What varies has a score"),
    ("objects", {"pixel": 16385}, "Every object is of exactly one row of object_pixels"),
    ("objects", {"nmembers": 7}, "nmembers counts the members"),
    ("objects", nested("members", separation=lambda x: [None, *x[1:]]), "No value of a member is missing"),
    ("objects", {"objectid": 1}, "The object bears the name of one of its members"),
    ("objects", nested("members", objectid=lambda x: [*x[:-1], 7]), "Every member is a star of a unit"),
    ("objects", {}, "No star is a member of two objects"),
    ("objects", nested("members", objectid=lambda x: [8] * len(x)), "An object has a light curve"),
    ("objects", nested("members", nepochs=lambda x: [99, *x[1:]]), "Epochs of members are those of"),
    ("objects", {"nobs": 99}, "nobs counts the epochs of all members"),
    ("objects", {"r_ngoodobs": 99}, "No more epochs are good than there are"),
    ("objects", {"i_nobs": 99}, "All filters together have no fewer epochs"),
    ("objects", nested("members", separation=lambda x: [9.0] * len(x)), "No member is farther"),
    ("objects", {"dec": 32.9}, "The place is near that of the leader"),
    ("objects", {"dec": 32.9}, "The spatial index is that of ra, dec"),
    ("objects", {"sigpos": 0.0}, "Every position has an error"),
    ("objects", {"period": 0.5}, "Only what varies has a period"),
    ("objects", {"period": 0.5, "is_candidate": True}, "A period has a shape, a score and epochs"),
    ("objects", {"gaia_id": 5, "gaia_distance": None}, "There is a distance exactly where"),
    ("object_pixels", {"objects": 1}, "objects counts the pixel's rows of objects"),
    ("object_pixels", {"candidates": 77}, "candidates counts those that vary"),
    ("object_pixels", {"curves": 1}, "curves counts the light curves of their members"),
    ("object_pixels", {"periods": 99}, "No more objects have a period than vary"),
]  # fmt: skip


for band in ("g", "r", "i"):
    named = {f"{band}_ngoodobs": 1, f"{band}_meanmag": 9.0, f"{band}_minmag": 17.0}
    DEFECTS += [
        ("objects", {f"{band}_nobs": 99}, f"{band}_nobs counts the epochs of the members in {band}"),
        (
            "objects",
            {f"{band}_ngoodobs": 0, f"{band}_meanmag": 17.0},
            f"There is a mean in {band} exactly where",
        ),
        ("objects", named, f"Mean and median in {band} lie between"),
    ]
LOST = [
    ("seeds", "No star has two light curves", "lightcurves", {}),
    ("epochs", "Epochs are of images that may be used", "science_images", {"status": 0}),
    ("photometric_offsets", "Offsets are of images that may be used", "science_images", {"status": 0}),
    ("epochs", "Every epoch is of exactly one star", "seeds", None),
    ("epochs", "Every epoch is exactly one row of sources", "sources", None),
    ("epochs", "Every epoch is of exactly one image", "science_images", None),
    ("epochs", "The image of every epoch has an offset", "photometric_offsets", None),
    ("epochs", "Every star with epochs has a light curve", "lightcurves", None),
    ("lightcurves", "A light curve has all epochs of its star", "epochs", None),
    ("lightcurve_statistics", "Every light curve is of exactly one object", "objects", None),
    ("objects", "Every member is a star of a unit", "seeds", None),
    ("matched_units", "images counts the images of the unit", "science_images", None),
    ("measured_units", "Every light curve of the unit was measured", "lightcurves", None),
]  # fmt: skip
"""Table, what breaks in it, and the other table in which a row is changed, doubled or lost."""
DECLARED = [
    ("seeds", {}, "No objectid appears twice"),
    ("seeds", {"ra": None}, "ra is never missing"),
    ("seeds", {"rcid": 400}, "rcid is between 0 and 399"),
    ("seeds", {"origin": 2}, "origin is one of 0, 1"),
    ("photometric_offsets", {"flags": 64}, "flags is between 0 and 63"),
    ("photometric_offsets", {"scatter_after": -1.0}, "scatter_after is at least 0"),
    ("matched_units", {"night": "2025"}, "night has the form"),
]


def strided(sound, table, cases):
    """Return how far apart rows with defects may be when all are seeded at once; 0 if rows are too few."""
    return sound.tables[table].num_rows // (len(cases) + 1)


@pytest.mark.parametrize("table", TABLES)
def test_a_defect_is_critical_and_named_in_its_row(lake, sound, table):
    cases = [(change, sentence) for name, change, sentence in DEFECTS if name == table]
    stride = strided(sound, table, cases)
    for batch in [cases] if stride else [[case] for case in cases]:
        rows, new = seeded(sound.tables[table], [change for change, _ in batch], max(stride, 1))
        found = broken_by(sound.with_tables(**{table: rows}), lake[1], table)
        key = sound.lakehouse.table(table).declaration.key
        for row, (change, sentence) in zip(new, batch, strict=True):
            named = [case for words, case in found.items() if words.startswith(sentence)]
            assert any(
                severity == "critical" and tuple(row[name] for name in key) in keys
                for severity, keys in named
            ), (change, sentence)


@pytest.mark.parametrize(("table", "sentence", "other", "change"), LOST, ids=[f"{c[0]}-{c[2]}" for c in LOST])
def test_what_another_table_lacks_is_critical_and_named(lake, sound, table, sentence, other, change):
    rows, _ = seeded(sound.tables[other], [change])
    found = broken_by(sound.with_tables(**{other: rows}), lake[1], table)
    assert [severity for words, (severity, _) in found.items() if words.startswith(sentence)] == ["critical"]


def test_every_critical_relation_has_a_defect_seeded_for_it(lake):
    for table in TABLES:
        sentences = tuple(s for name, _, s in DEFECTS if name == table)
        sentences += tuple(s for name, s, _, _ in LOST if name == table)
        for expected in handwritten_suite(table, lake[0].include).expectations:
            assert expected.severity == "warning" or expected.description.startswith(sentences), expected


def test_all_defects_at_once_are_recorded_shown_and_raised(lake, sound, monkeypatch):
    lakehouse, settings = lake
    by_unit, by_pixel = ("seeds", "photometric_offsets", "matched_units"), ("object_pixels",)
    monkeypatch.setattr(step, "BY_UNIT", by_unit)  # a few tables: the check costs 10 ms an expectation
    monkeypatch.setattr(step, "BY_PIXEL", by_pixel)
    broken, seeds = {}, []
    for table in (*by_unit, *by_pixel):
        cases = [case for case in (*DECLARED, *DEFECTS) if case[0] == table][: sound.tables[table].num_rows]
        stride = strided(sound, table, cases) or 1
        broken[table], _ = seeded(sound.tables[table], [change for _, change, _ in cases], stride)
        seeds += cases
    assert len(seeds) >= 25
    monkeypatch.setattr(step, "_catalogs", lambda *_: sound.with_tables(**broken))
    with pytest.raises(UnusableInputError, match=r"critical expectations failed: seeds: .*; and \d+ more"):
        step.check_catalogs(lakehouse, settings=settings)
    rows = lakehouse.table("check_results").read(where={"night": "catalogs", "success": False}).to_pylist()
    for table, change, sentence in seeds:
        told = [r for r in rows if r["table_name"] == table and r["sentence"].startswith(sentence)]
        assert [r["severity"] for r in told] == ["critical"], (table, change, sentence)
        assert told[0]["unexpected"] > 0
    page = lakehouse.storage.read_bytes("reports/catalogs/checks/seeds.html").decode()
    assert "The spatial index is that of ra, dec" in page


def test_what_is_to_be_made_anew_may_be_behind_and_is_told(lake, sound):
    """A new image makes its unit due: nothing is critical, and a warning says so."""
    image = sound.tables["science_images"].slice(0, 1).to_pylist()[0]
    more = pa.Table.from_pylist([image | {"pid": 5, "expid": 1}], sound.tables["science_images"].schema)
    unit = {name: [image[name]] for name in ("field", "fid", "rcid")}
    tables = {"science_images": pa.concat_tables([sound.tables["science_images"], more])}
    late = dataclasses.replace(
        sound.with_tables(**tables), due=dict(sound.due) | {"due_units": pa.table(unit)}
    )
    found = broken_by(late, lake[1], "matched_units")
    assert {words: severity for words, (severity, _) in found.items()} == {
        "Light curves are made of the images and the reference there are now": "warning"
    }
    assert broken_by(late, lake[1], "epochs") == {}
    missing = late.with_tables(matched_units=sound.tables["matched_units"].slice(0, 0))
    finding = step._undone(missing)["matched_units"]
    assert not finding.success
    assert finding.expected.severity == "warning"
    assert f"field = {image['field']}" in finding.observed
    assert step._undone(sound)["matched_units"].success


@pytest.mark.parametrize("most", [1, 90, 700, 10**9])
def test_parts_hold_every_row_once(lake, sound, most):
    lakehouse, settings = lake
    for table in TABLES:
        parts = [part for part, _ in step._parts(sound, settings, (table,), most, None)]
        key = list(lakehouse.table(table).declaration.key)
        found = pa.concat_tables([part.read(table, key) for part in parts])
        assert sorted(map(str, found.to_pylist())) == sorted(
            map(str, sound.tables[table].select(key).to_pylist())
        )


def test_units_are_packed_up_to_the_bound_and_too_large_ones_divided():
    rows = dict.fromkeys(itertools.product((1, 2, 3, 4), (1, 2), (0, 1, 2)), 10)
    rows[3, 1, 1] = 500
    found = list(packed(rows, 120))
    assert found == [
        {"field": [1, 2]},
        {"field": 3, "fid": 1, "rcid": [0]},
        {"field": 3, "fid": 1, "rcid": [1]},
        {"field": 3, "fid": 1, "rcid": [2]},
        {"field": 3, "fid": [2]},
        {"field": [4]},
    ]


def test_a_check_of_some_is_told_and_not_recorded(tmp_path, lake, monkeypatch):
    lakehouse, settings = lake
    seen = []
    monkeypatch.setattr(step, "_check_part", lambda *given: seen.append(given[2]) or [])
    monkeypatch.setattr(step, "record", lambda *_: pytest.fail("recorded"))
    assert step.check_catalogs(lakehouse, settings=settings, names=["objects"]).page == ""
    assert step.check_catalogs(lakehouse, settings=settings, fields=[4]).page == ""
    assert seen == [("objects",), step.BY_UNIT]
    with pytest.raises(NothingToDoError):
        step.check_catalogs(lakehouse, settings=settings, fields=[600])
    with pytest.raises(UnusableInputError, match="no catalogue: raw_exposures"):
        step.check_catalogs(lakehouse, settings=settings, names=["raw_exposures"])
    empty = Settings(var=tmp_path, camera="mini")
    with pytest.raises(NothingToDoError, match="no rows"):
        step.check_catalogs(open_lakehouse(empty), settings=empty)
