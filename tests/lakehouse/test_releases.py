"""Releases: whole or not there, numbered, described, kept from expiring, withdrawn, and told apart."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from release_builder import Survey, filled, science_image

from zsds_tasks.errors import NothingToDoError, TransientError, UnusableInputError
from zsds_tasks.lakehouse import paths, release_making, releases
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.difference_states import state_in_release
from zsds_tasks.lakehouse.differences import compare_tables
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.publish import expire, sweep_unfinished, versions
from zsds_tasks.lakehouse.release_claims import claim_number, sweep_unfinished_releases
from zsds_tasks.lakehouse.release_config import ReleasesConfig
from zsds_tasks.lakehouse.release_making import make_release
from zsds_tasks.lakehouse.release_tables import UncheckedError
from zsds_tasks.lakehouse.releases import latest_release, list_releases, number_of, read_release, withdraw
from zsds_tasks.products.tables import load_table
from zsds_tasks.steps import catalog_checks
from zsds_tasks.steps import release as release_step
from zsds_tasks.steps.check_results import CheckSummary

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
DOCUMENTS = {
    "photometric_offsets.parquet", "images.parquet", "units.parquet", "data-dictionary.md", "moc.fits",
    "sky.png", "datacite.json", "changes.json", "CHANGES.md",
}  # fmt: skip


@pytest.fixture
def survey(tmp_path):
    made = Survey(tmp_path / "root")
    made.observe("20260101")
    made.write()
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Draw no picture: it takes most of the time, and has tests of its own."""
    if "describes_itself" not in request.node.name:
        monkeypatch.setattr(release_making, "draw_map", lambda *_: b"picture")


def release(survey, **changes):
    return make_release(survey.lakehouse, survey.settings, now=NOW, **changes)


def second_night(survey):
    survey.observe("20260102", fields=(281,))
    survey.write()


def test_a_release_names_its_tables_and_describes_itself(survey):
    made = release(survey)
    storage = survey.lakehouse.storage
    assert (made.number, made.name, made.status, made.created) == (1, "dr1", "public", NOW)
    assert set(made.tables) == {"lightcurves", "photometric_offsets"}
    assert made.left_out["objects"] == "has no rows yet"
    curves, offsets = made.tables["lightcurves"], made.tables["photometric_offsets"]
    assert (curves.rows, curves.kind, curves.publication, curves.key) == (80, "hats", 1, ("objectid",))
    assert HatsReader(curves.uri).read(["objectid"]).num_rows == 80
    assert pq.read_table(offsets.uri).num_rows == offsets.rows == 2
    assert "lightcurve.mag" in {column.name for column in curves.columns}
    assert (made.first_night, made.last_night, made.image_versions) == ("20260101", "20260101", {"v1": 2})
    assert "config/releases.yaml" in made.configuration
    assert set(made.checksums) == DOCUMENTS
    for name, digest in made.checksums.items():
        assert hashlib.sha256(storage.read_bytes(paths.release_file(1, name))).hexdigest() == digest
    for name, digest in curves.checksums.items():
        place = f"{paths.collection_version('lightcurves', 1)}/{name}"
        assert hashlib.sha256(storage.read_bytes(place)).hexdigest() == digest
    assert read_release(storage, 1) == made == latest_release(storage)


def test_nothing_new_is_no_new_release(survey):
    first = release(survey)
    assert release(survey) == first
    table = survey.lakehouse.table("lightcurves")
    rows = table.read()
    table.delete({"objectid": int(rows["objectid"][0].as_py())})
    table.merge(rows)  # other files, the same rows
    assert release(survey) == first
    assert survey.lakehouse.storage.children(paths.RELEASES) == ["dr1"]
    second_night(survey)
    assert release(survey).number == 2


def test_the_difference_of_two_releases_is_explained_by_their_images(survey):
    release(survey)
    second_night(survey)
    assert release(survey).previous == 1
    found = compare_tables(survey.lakehouse, "lightcurves", "dr1", "dr2")
    assert (found.added, found.removed, found.changed) == (0, 0, 40)
    assert [(c.kind, c.before, c.after, c.changed) for c in found.causes] == [
        ("images added", "", "20260102", 40)
    ]
    assert found.nights == {"20260102": (0, 0, 40)}
    offsets = compare_tables(survey.lakehouse, "photometric_offsets", "dr1", "dr2")
    assert (offsets.added, offsets.images, offsets.nights) == (1, 1, {"20260102": (1, 0, 0)})
    told = json.loads(survey.lakehouse.storage.read_bytes(paths.release_file(2, "changes.json")))
    assert (told["previous"], told["tables"]["lightcurves"]["changed"]) == ("dr1", 40)
    text = survey.lakehouse.storage.read_bytes(paths.release_file(2, "CHANGES.md")).decode()
    assert "| images added |  | 20260102 | 0 | 0 | 40 |" in text


def test_reprocessed_images_account_for_the_magnitudes_they_moved(survey):
    second_night(survey)
    release(survey)
    survey.reprocess("20260102", "v2")
    survey.write()
    release(survey)
    found = compare_tables(survey.lakehouse, "lightcurves", "dr1", "dr2")
    assert [(c.kind, c.before, c.after, c.changed) for c in found.causes] == [
        ("images reprocessed", "v1", "v2", 40)
    ]
    (mag,) = (column for column in found.columns if column.name == "lightcurve.mag")
    assert mag.changed == 40
    assert mag.largest == pytest.approx(0.1, abs=1e-5)


def test_versions_of_the_live_table_are_explained_by_the_images_of_their_time(survey):
    first = survey.lakehouse.table("lightcurves").version()
    second_night(survey)
    found = compare_tables(survey.lakehouse, "lightcurves", str(first), str(first + 1))
    assert [(c.kind, c.after, c.changed) for c in found.causes] == [("images added", "20260102", 40)]


@pytest.mark.parametrize("released", [True, False])
def test_another_reference_accounts_for_other_stars(survey, released):
    table = survey.lakehouse.table("lightcurves")
    names = [release(survey).name if released else str(table.version())]
    survey.rfversion = 1
    survey.write()
    names.append(release(survey).name if released else str(table.version()))
    found = compare_tables(survey.lakehouse, "lightcurves", *names)
    assert [(c.kind, c.before, c.after, c.added, c.removed, c.changed) for c in found.causes] == [
        ("reference changed", "none", "version 1", 80, 80, 0)
    ]


def test_rows_of_an_image_are_explained_by_the_reference_of_its_unit(tmp_path):
    survey = Survey(tmp_path / "root")
    survey.observe("20260101")
    survey.lakehouse.table("science_images").merge([science_image(one) for one in survey.images])
    epochs = survey.lakehouse.table("epochs")
    for reference in (0, 1):
        survey.rfversion = reference
        rows = [{"pid": pid, "objectid": 10 * reference + pid, "sourceid": 1} for pid in (1, 2)]
        # As the steps do: images first, then epochs, the units last.
        epochs.merge([filled("epochs", row) for row in rows])
        survey.write()
    found = compare_tables(survey.lakehouse, "epochs", "1", "2")
    assert [(c.kind, c.before, c.after, c.changed) for c in found.causes] == [
        ("reference changed", "none", "version 1", 2)
    ]
    assert (found.images, found.nights) == (2, {"20260101": (0, 0, 2)})


def test_pixels_that_two_releases_share_are_not_read(survey):
    release(survey)
    second_night(survey)
    release(survey)
    found = compare_tables(survey.lakehouse, "lightcurves", "dr1", "dr2")
    storage = survey.lakehouse.storage
    files = [state_in_release(storage, one, "lightcurves").files for one in list_releases(storage)]
    shared = {file.identity for file in files[0]} & {file.identity for file in files[1]}
    assert shared
    assert found.rows_compared < found.rows_before + found.rows_after
    assert "" not in {file.identity for side in files for file in side}


def test_publications_of_releases_never_expire_until_they_are_withdrawn(survey):
    release(survey)
    storage = survey.lakehouse.storage
    for night in ("20260102", "20260103", "20260104"):
        survey.observe(night)
        survey.write()
        survey.lakehouse.publish("lightcurves")
    assert expire(storage, "lightcurves", keep=1) == [2, 3]
    assert sweep_unfinished(storage, "lightcurves", older_than_hours=0, now=NOW + timedelta(days=400)) == []
    assert versions(storage, "lightcurves") == [1, 4]
    assert HatsReader(read_release(storage, 1).tables["lightcurves"].uri).read().num_rows == 80
    withdraw(storage, 1, "offsets of field 281 are wrong", NOW)
    assert expire(storage, "lightcurves", keep=1) == [1]
    assert read_release(storage, 1).tables["lightcurves"].rows == 80
    with pytest.raises(UnusableInputError, match="dr1 is no longer whole"):
        state_in_release(storage, read_release(storage, 1), "lightcurves")


def test_a_withdrawn_release_is_readable_and_never_the_latest(survey):
    release(survey)
    second_night(survey)
    release(survey)
    storage = survey.lakehouse.storage
    gone = withdraw(storage, 2, " offsets of field 281 are wrong ", NOW)
    assert (gone.status, gone.reason, gone.withdrawn) == ("withdrawn", "offsets of field 281 are wrong", NOW)
    assert read_release(storage, 2) == gone
    assert latest_release(storage).number == 1
    assert withdraw(storage, 2, "another reason", NOW + timedelta(days=1)) == gone
    # What is made after it is compared with the newest that stands.
    assert (release(survey).number, release(survey).previous) == (3, 1)
    withdraw(storage, 1, "superseded", NOW)
    withdraw(storage, 3, "superseded", NOW)
    assert latest_release(storage) is None
    assert [one.number for one in list_releases(storage)] == [1, 2, 3]


def test_what_cannot_be_withdrawn_is_refused(survey):
    release(survey)
    storage = survey.lakehouse.storage
    with pytest.raises(UnusableInputError, match="for a reason"):
        withdraw(storage, 1, "  ", NOW)
    with pytest.raises(UnusableInputError, match="there is no such release"):
        withdraw(storage, 2, "wrong", NOW)
    for word in ("dr", "dr0", "dr01", "DR1", "dr1/..", "1"):
        with pytest.raises(UnusableInputError, match="is no name of a release"):
            number_of(word)


def test_without_rows_there_is_nothing_to_release(tmp_path):
    empty = Survey(tmp_path / "root")
    with pytest.raises(NothingToDoError, match="no table over the sky has rows"):
        release(empty)
    assert empty.lakehouse.storage.children(paths.RELEASES) == []


def test_makers_at_the_same_time_have_numbers_of_their_own(survey):
    storage = survey.lakehouse.storage
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: claim_number(storage, {"lightcurves": 1}, NOW), range(8)))
    assert sorted(taken) == list(range(1, 9))
    assert list_releases(storage) == []
    assert release(survey).number == 9


def test_two_makers_of_the_same_make_one_release(survey):
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: release(survey), range(2)))
    assert made[0] == made[1]
    assert [one.number for one in list_releases(survey.lakehouse.storage)] == [1]


def test_what_a_killed_maker_left_is_no_release_keeps_its_publications_and_is_swept(survey):
    storage = survey.lakehouse.storage
    survey.lakehouse.publish("lightcurves")
    assert claim_number(storage, {"lightcurves": 1}, NOW) == 1
    second_night(survey)
    survey.lakehouse.publish("lightcurves")
    assert expire(storage, "lightcurves", keep=1) == []
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(hours=30)
    assert sweep_unfinished_releases(storage, older_than_hours=24, now=soon) == []
    assert sweep_unfinished_releases(storage, older_than_hours=24, now=later) == [1]
    assert expire(storage, "lightcurves", keep=1) == [1]
    assert release(survey).number == 1
    assert sweep_unfinished_releases(storage, older_than_hours=0, now=later) == []


class Killed(BaseException):
    """What stops a process at any point."""


@pytest.mark.parametrize(
    ("places", "last"),
    [((paths.HATS, paths.RELEASES), False), ((paths.RELEASES,), True)],
    ids=["", "at once"],
)
def test_killed_at_any_write_no_half_release_is_there_and_the_next_call_makes_it(
    survey, monkeypatch, places, last
):
    """`last`: the process is gone before it can clear away what it wrote."""
    storage = survey.lakehouse.storage
    kind = type(storage)
    put, clear = kind.put_bytes_atomically, kind.delete_tree
    whole = None
    for allowed in range(60):
        left = [allowed]

        def counted(self, data, relative, *, exclusive=False, left=left):
            if relative.startswith(places):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
            put(self, data, relative, exclusive=exclusive)

        monkeypatch.setattr(kind, "put_bytes_atomically", counted)
        if last:
            monkeypatch.setattr(kind, "delete_tree", lambda *_: None)
        try:
            whole = release(survey)
        except Killed:
            assert list_releases(storage) == []
        monkeypatch.setattr(kind, "put_bytes_atomically", put)
        monkeypatch.setattr(kind, "delete_tree", clear)
        if whole is not None:
            break
    assert allowed > len(DOCUMENTS)
    assert list_releases(storage) == [whole]
    assert whole.number == (allowed if last else 1)
    assert release(survey) == whole


def test_releases_of_an_object_store_are_made_and_compared_likewise(s3_settings, s3_bucket):
    root = f"{s3_bucket}/{uuid.uuid4().hex}"
    made = Survey(root, storage=open_storage(root, s3_settings))
    made.observe("20260101")
    made.write()
    config = ReleasesConfig(tables=("lightcurves",))
    release(made, config=config)
    second_night(made)
    assert release(made, config=config).number == 2
    found = compare_tables(made.lakehouse, "lightcurves", "dr1", "dr2")
    assert [(c.kind, c.after, c.changed) for c in found.causes] == [("images added", "20260102", 40)]
    assert [one.number for one in list_releases(made.lakehouse.storage)] == [1, 2]


def test_an_object_is_explained_by_the_units_of_its_light_curves(survey):
    release(survey)
    rows = [star(number, fields) for number, fields in enumerate([(281,), (282,), (281, 282), (281, 281)])]
    survey.lakehouse.table("objects").merge(rows)
    release(survey)
    second_night(survey)
    survey.lakehouse.table("objects").merge([row | {"nobs": 7} for row in rows])
    release(survey)
    found = compare_tables(survey.lakehouse, "objects", "dr2", "dr3")
    assert {(c.kind, c.after, c.changed) for c in found.causes} == {
        ("images added", "20260102", 3),
        ("same images", "", 1),
    }
    told = json.loads(survey.lakehouse.storage.read_bytes(paths.release_file(2, "changes.json")))
    assert told["gained"] == {"objects": 4}


def star(number, fields):
    curves = [
        {
            "objectid": number * 10 + k,
            "filterid": 1,
            "fieldid": field,
            "rcid": 7,
            "separation": 0.1,
            "nepochs": 1,
        }
        for k, field in enumerate(fields)
    ]
    (nested,) = (one for one in load_table("objects").columns if one.columns)
    known = {inner.name: [curve[inner.name] for curve in curves] for inner in nested.columns}
    return filled("objects", {"objectid": number, "ra": 10.0, "dec": 20.0, nested.name: known})


def test_a_release_finished_while_pins_are_looked_up_is_among_them(survey, monkeypatch):
    """Whoever expires publications must not look between two lists of which neither has it."""
    real, asked, made = releases.numbers, [], []

    def numbers(storage, *, unfinished=False):
        found = real(storage, unfinished=unfinished)
        asked.append(unfinished)
        if len(asked) == 1:  # what makes the release asks as well
            made.append(release(survey))
        return found

    monkeypatch.setattr(releases, "numbers", numbers)
    pinned = releases.pinned_publications(survey.lakehouse.storage, "lightcurves")
    publication = made[0].tables["lightcurves"].publication
    assert publication in pinned


def test_a_passing_fault_makes_no_release_without_provenance(survey, monkeypatch):
    table = type(survey.lakehouse.table("science_images"))
    real = table.read

    def read(self, *words, **more):
        if self.name == "science_images":
            raise TransientError("the storage is in the way", subject=self.name, remedy="the work is retried")
        return real(self, *words, **more)

    with monkeypatch.context() as patch:
        patch.setattr(table, "read", read)
        with pytest.raises(TransientError):
            release(survey)
    assert latest_release(survey.lakehouse.storage) is None
    assert release(survey).first_night == "20260101"


def test_what_goes_wrong_after_a_release_is_there_takes_nothing_back(survey, monkeypatch):
    storage = type(survey.lakehouse.storage)
    real = storage.put_bytes_atomically

    def put(self, data, path, **more):
        real(self, data, path, **more)
        if path.endswith("release.json"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_bytes_atomically", put)
        with pytest.raises(KeyboardInterrupt):
            release(survey)
    assert latest_release(survey.lakehouse.storage).number == 1
    assert set(latest_release(survey.lakehouse.storage).checksums) >= DOCUMENTS - {"units.parquet"}


def test_the_configuration_is_noted_wherever_it_lies(survey, tmp_path):
    include = tmp_path / "airflow" / "include"
    shutil.copytree(survey.settings.include, include)
    noted = release_making._configuration(include)
    assert noted == release_making._configuration(survey.settings.include)
    assert "config/releases.yaml" in noted


def versions_of(survey):
    return {name: survey.lakehouse.table(name).version() for name in ("lightcurves", "photometric_offsets")}


def test_what_was_checked_is_what_is_released(survey):
    table = survey.lakehouse.table("lightcurves")
    table.repartition()
    table.compact()
    checked = versions_of(survey)
    second_night(survey)
    with pytest.raises(UncheckedError, match=r"lightcurves, photometric_offsets: has changed since"):
        release(survey, checked=checked)
    with pytest.raises(UncheckedError, match="lightcurves: has changed"):
        release(survey, checked={"lightcurves": None})
    assert latest_release(survey.lakehouse.storage) is None
    table.compact()
    checked = versions_of(survey)
    table.vacuum(720.0)  # makes a version of the same files
    assert release(survey, checked=checked).tables["lightcurves"].rows == table.count()


def test_what_changed_after_its_check_is_checked_again(survey, monkeypatch):
    looked = []

    def check_catalogs(lakehouse, *, settings):
        looked.append(versions_of(survey))
        if len(looked) == 1:
            second_night(survey)  # while the checks run
        return CheckSummary("catalogs", (), "", looked[-1])

    monkeypatch.setattr(catalog_checks, "check_catalogs", check_catalogs)
    release_step.release_tables(survey.lakehouse, survey.settings, NOW, checked={"lightcurves": 0})
    assert len(looked) == 2
    made = latest_release(survey.lakehouse.storage)
    assert {name: table.table_version for name, table in made.tables.items()} == looked[1]
