"""What a release says about itself: metadata, coverage, the picture, words; the step and the commands."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from pydantic import ValidationError
from release_builder import Survey

from zsds_tasks import cli
from zsds_tasks.lakehouse import paths
from zsds_tasks.lakehouse.difference_causes import Cause
from zsds_tasks.lakehouse.difference_columns import ColumnDifference
from zsds_tasks.lakehouse.differences import TableDifference
from zsds_tasks.lakehouse.release_config import Creator, ReleasesConfig, load_releases_config
from zsds_tasks.lakehouse.release_documents import datacite, describe_changes
from zsds_tasks.lakehouse.release_making import make_release
from zsds_tasks.lakehouse.release_maps import SkyMap, moc_fits, resolved, union
from zsds_tasks.lakehouse.release_pictures import draw_map, find_patches
from zsds_tasks.settings import Settings, load_settings
from zsds_tasks.sky import healpix
from zsds_tasks.steps.release import release_tables
from zsds_tasks.steps.upkeep import tidy

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def sky_map(order, cells, counts=None):
    numbers = np.unique(np.array(cells, np.int64))
    return SkyMap(order, numbers, np.full(len(numbers), 20) if counts is None else np.array(counts))


def around(ra, dec, radius_deg, order=9):
    """Return the cells of a cone."""
    shift = 2 * (healpix.INDEX_ORDER - order)
    ranges = healpix.cone_ranges(ra, dec, radius_deg)
    return np.concatenate([np.arange(low >> shift, -(-high >> shift)) for low, high in ranges])


@settings(max_examples=15)
@given(st.sets(st.integers(0, 12 * 4**4 - 1), min_size=1, max_size=60), st.integers(0, 11))
def test_coverage_is_read_back_by_the_reference_library(cells, base):
    import mocpy

    whole = range(base * 256, (base + 1) * 256)  # a base cell, to be joined all the way up
    map_ = sky_map(4, sorted(cells | set(whole)))
    read = mocpy.MOC.from_fits(io.BytesIO(moc_fits(map_)))
    expected = mocpy.MOC.from_healpix_cells(
        map_.cells.astype(np.uint64), np.full(len(map_.cells), 4, np.uint8), max_depth=4
    )
    assert read == expected


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 12 * 4**6 - 1), st.integers(1, 50)), min_size=1, max_size=40))
def test_joining_cells_and_maps_keeps_every_row(pairs):
    parts = [SkyMap(6, np.array([cell]), np.array([count])) for cell, count in pairs]
    whole = union(parts)
    assert whole.counts.sum() == sum(count for _, count in pairs)
    coarse = whole.coarser(3)
    assert coarse.counts.sum() == whole.counts.sum()
    assert set(coarse.cells.tolist()) == {cell >> 6 for cell, _ in pairs}
    assert resolved(whole).order <= whole.order
    patches = find_patches(whole)
    assert np.array_equal(np.sort(np.concatenate([one.cells for one in patches])), whole.cells)


def test_patches_are_what_lies_together_also_across_0_h_and_at_a_pole():
    fields = [around(359.9, 30.0, 1.0), around(180.0, -40.0, 0.8), around(40.0, 89.9, 0.6)]
    found = find_patches(sky_map(9, np.concatenate(fields)))
    assert sorted(len(one.cells) for one in found) == sorted(len(np.unique(field)) for field in fields)


@pytest.mark.parametrize(
    "cells",
    [around(345.0, 32.0, 0.5), np.concatenate([around(359.9, 30.0, 1.0), around(2.0, 89.5, 1.0)])],
    ids=["one field", "two fields"],
)
def test_rows_are_drawn_on_a_chart_of_each_field(cells):
    png = imread(io.BytesIO(draw_map(sky_map(9, cells), "a map")))
    height, width = png.shape[:2]
    # A cone fills pi / 4 of its chart; the colour bar below has all colours whatever is drawn.
    assert (np.ptp(png[: int(0.85 * height), :, :3], axis=2) > 0.3).sum() > 0.1 * width**2


def test_a_wide_survey_is_drawn_on_the_whole_sky():
    png = imread(io.BytesIO(draw_map(sky_map(4, range(0, 12 * 256, 2)), "half of the sky")))
    assert (np.ptp(png[: int(0.8 * len(png)), :, :3], axis=2) > 0.3).mean() > 0.1


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    made = Survey(tmp_path_factory.mktemp("lake") / "zsds")
    made.observe("20260101")
    made.write()
    make_release(made.lakehouse, made.settings, now=NOW)
    made.observe("20260102", fields=(281,))
    made.write()
    release_tables(made.lakehouse, made.settings, NOW)
    return made


@pytest.fixture
def zsds(monkeypatch, survey):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["zsds", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    monkeypatch.setenv("ZSDS_ROOT", survey.settings.root)
    load_settings.cache_clear()
    yield call
    load_settings.cache_clear()


def test_metadata_have_what_a_doi_needs(survey):
    from zsds_tasks.lakehouse.releases import read_release

    storage = survey.lakehouse.storage
    told = json.loads(storage.read_bytes(paths.release_file(2, "datacite.json")))
    for required in ("titles", "creators", "publisher", "publicationYear", "types", "schemaVersion"):
        assert told[required]
    assert told["types"]["resourceTypeGeneral"] == "Dataset"
    assert told["version"] == "dr2"
    assert {"date": "2026-01-01/2026-01-02", "dateType": "Collected"} in told["dates"]
    person = Creator(name="Doe, Jane", kind="Personal", affiliation="A", orcid="0000-0002-1825-0097")
    named = datacite(read_release(storage, 2), ReleasesConfig(creators=(person,)))["creators"][0]
    assert (named["familyName"], named["givenName"]) == ("Doe", "Jane")
    assert named["nameIdentifiers"][0]["nameIdentifier"] == "https://orcid.org/0000-0002-1825-0097"
    with pytest.raises(ValidationError):
        Creator(name="Doe, Jane", orcid="12")


def test_the_shipped_configuration_names_declared_tables(survey):
    config = load_releases_config(Settings().include)
    for name in config.tables:
        assert survey.lakehouse.table(name).declaration.table == name


def test_the_dictionary_of_a_release_names_every_column(survey):
    text = survey.lakehouse.storage.read_bytes(paths.release_file(2, "data-dictionary.md")).decode()
    for column in survey.lakehouse.table("lightcurves").declaration.names:
        assert f"| `{column}` |" in text
    assert "Left out: objects, which has no rows yet." in text


def test_changes_are_told_in_words():
    found = TableDifference(
        table="stars", key=("objectid",), before="dr1", after="dr2", rows_before=9, rows_after=10, added=2,
        removed=1, changed=3, columns=tuple(ColumnDifference(f"c{n}", 1, 0.5) for n in range(25)),
        columns_added=("new",), columns_removed=(), columns_altered=("mag",),
        causes=(Cause("processing version", "a", "b", 0, 0, 3),), explained="by versions",
        nights={"20260101": (2, 1, 3)}, rows_compared=19,
    )  # fmt: skip
    text = describe_changes("dr2", "dr1", [found], {"objects": 7}, ["seeds"], {"epochs": "it is gone"})
    for fact in (
        "# dr2: changes since dr1",
        "`objects` is new: 7 rows",
        "`seeds` is not part of it any more",
        "`epochs` could not be compared: it is gone",
        "9 rows before, 10 after: 2 added, 1 removed, 3 changed.",
        "Columns added: `new`.",
        "Columns of another type: `mag`.",
        "| `c0` | 1 | 0.5 |",
        "... and 5 more.",
        "| processing version | a | b | 0 | 0 | 3 |",
        "20260101 (2 + 1 + 3)",
    ):
        assert fact in text
    assert "\n\n\n" not in text


def test_the_step_says_what_it_made_and_that_it_made_nothing(survey):
    again = release_tables(survey.lakehouse, survey.settings, NOW)
    assert (again.release, again.is_new, again.previous) == ("dr2", False, "dr1")
    assert json.loads(json.dumps(again.as_dict()))["rows"] == {"lightcurves": 80, "photometric_offsets": 3}


def test_upkeep_clears_unfinished_releases_and_leaves_the_others(survey):
    storage = survey.lakehouse.storage
    storage.put_bytes_atomically(
        b'{"begun": "2026-01-02T03:04:00+00:00", "publications": {}}', "releases/dr9/claim.json"
    )
    tidy(survey.lakehouse, datetime.now(UTC) + timedelta(days=2), keep=1)
    assert storage.children("releases") == ["dr1", "dr2"]
    assert storage.exists("hats/lightcurves/v1/publication.json")


def test_commands_show_releases_and_what_changed(zsds, capsys):
    assert zsds("release", "list") == 0
    assert "dr2" in capsys.readouterr().out
    assert zsds("release", "show", "dr2") == 0
    assert "left out: objects" in capsys.readouterr().out
    assert zsds("release", "show", "2", "--changes") == 0
    assert "images added" in capsys.readouterr().out
    assert zsds("diff", "lightcurves", "dr1", "dr2", "--rows", "1") == 0
    shown = capsys.readouterr().out
    assert "images added" in shown
    assert "nepochs" in shown
    assert zsds("diff", "lightcurves", "dr1", "dr2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 40
    assert zsds("release", "make") == 0
    assert "nothing has changed since" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("release", "show", "dr7"), ("diff", "lightcurves", "dr1", "x")])
def test_commands_refuse_what_is_not_there(zsds, capsys, words):
    assert zsds(*words) == 4
    assert "error:" in capsys.readouterr().err


def test_a_command_withdraws(zsds, capsys, survey):
    assert zsds("release", "withdraw", "1", "--reason", "field 282 is shifted") == 0
    assert "dr1 is withdrawn" in capsys.readouterr().out
    assert zsds("release", "show", "1") == 0
    assert "field 282 is shifted" in capsys.readouterr().out
    assert zsds("release", "withdraw", "2", "--reason", " ") == 4
