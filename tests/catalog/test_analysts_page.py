"""The page for analysts and the notebook: each of their blocks runs, in order, on a small survey.

The one module of this folder that imports LSDB, which takes ten seconds.
"""

from __future__ import annotations

import json
import re
import warnings

import pytest

from zsds_tasks.settings import REPOSITORY, load_settings

PAGE = REPOSITORY / "docs" / "analysts.md"
NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "light-curves.ipynb"
pytestmark = pytest.mark.filterwarnings("ignore")  # of LSDB and Dask: theirs, not ours


@pytest.fixture
def desk(lake, monkeypatch, tmp_path):
    """An analyst's folder, whose environment names the small survey."""
    monkeypatch.setenv("ZSDS_VAR", str(lake.settings.var))
    monkeypatch.setenv("ZSDS_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def run(blocks, source) -> dict:
    """Run blocks of code in one namespace; an error names its block."""
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{source}, block {number}", "exec"), names)  # noqa: S102 - it is our own page
    return names


def test_every_recipe_of_the_page_runs_and_tells_the_truth(desk, lake, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 14
    names = run(blocks, PAGE.name)
    told = capsys.readouterr().out
    assert told.startswith("dr2 ('lightcurves', 'objects'")
    here = [
        star for star in lake.of_kind("rrlyrae") if abs(star.ra - 2.0) < 0.25 and abs(star.dec - 1.2) < 0.25
    ]
    assert f"{len(here)} RR Lyrae in field 1" in told
    assert sorted(star["period"] for star in names["in_field"]) == sorted(star.period for star in here)
    stars = names["objects"]["objectid"]
    assert len(stars) == names["rows"].num_rows > 5
    assert names["matched"]["_dist_arcsec"].between(0.099, 0.101).all()
    assert len(names["matched"]) == lake.open().source("objects").rows
    assert names["mapped"]["chisq"].median() == pytest.approx(1.0, abs=0.2)
    assert names["table"].num_rows == lake.open().source("lightcurves").rows
    assert len(names["one"]) == 1
    assert (desk / "rrlyrae.png").stat().st_size > 20_000


def test_the_notebook_runs_and_holds_no_output(desk):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    names = run(["".join(cell["source"]) for cell in code], NOTEBOOK.name)
    assert names["found"] == pytest.approx(names["star"]["period"], rel=1e-3)


def test_pictures_and_pages_that_the_page_names_are_there():
    text = PAGE.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([^)#]+)\)", text):
        assert (PAGE.parent / name).exists(), name
