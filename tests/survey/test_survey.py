from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import yaml

from zsds_tasks.errors import ConfigurationError, DeclarationError
from zsds_tasks.survey.fields import load_fields, read_field_list
from zsds_tasks.survey.headers import load_headers
from zsds_tasks.survey.survey import load_survey


def test_only_sky_frames_of_science_programmes_are_science(include):
    survey = load_survey("ztf", include)
    assert [survey.is_science("o", p) for p in (0, 1, 2, 3)] == [False, True, True, True]
    assert not any(survey.is_science(t.code, 1) for t in survey.image_types if t.code != "o")


def test_proprietary_periods(include):
    survey, observed = load_survey("ztf", include), dt.datetime(2025, 10, 12, 5, tzinfo=dt.UTC)
    assert survey.program(0).public_from(observed) is None
    assert survey.program(1).public_from(observed) == observed
    assert survey.program(2).public_from(observed) - observed == dt.timedelta(days=548)


def test_filters_are_found_by_every_name(include):
    survey = load_survey("ztf", include)
    for f in survey.filters:
        assert survey.filter_by_fid(f.fid) is f
        assert survey.filter_by_code(f.code) is f


def test_a_repeated_filter_number_is_refused(include, tmp_path):
    content = yaml.safe_load((include / "config" / "survey" / "ztf.yaml").read_text())
    content["filters"][1]["fid"] = 1
    folder = tmp_path / "config" / "survey"
    folder.mkdir(parents=True)
    (folder / "ztf.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DeclarationError, match="fid must not repeat"):
        load_survey("ztf", tmp_path)


def test_header_keywords_are_unique_and_fit_a_card(include):
    contract = load_headers("ztf", include)
    assert len({k.keyword for k in contract.keywords}) == len(contract.keywords)
    assert contract.of("quadrant")
    led = next(k for k in contract.keywords if k.field == "led")
    assert led.needed_for("f")
    assert not led.needed_for("o")


def test_mini_fields_are_in_the_grid_by_number(include):
    grid = load_fields("mini", include)
    assert grid.by_id[6].description.startswith("Perseus")
    assert all(grid.by_id[f.id] == f for f in grid.all_fields)


def test_a_repeated_field_is_refused(tmp_path):
    folder = tmp_path / "config" / "survey"
    folder.mkdir(parents=True)
    field = {"id": 1, "ra": 0.0, "dec": 0.0}
    content = {"name": "x", "description": "", "pointing_exact": True, "fields": [field, field]}
    (folder / "fields-x.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DeclarationError, match=r"field ids repeat: \[1\]"):
        load_fields("x", tmp_path)


def test_rows_of_the_real_grid_have_its_numbers_and_declinations(include, real_data):
    ours = load_fields("ztf", include).by_id
    real = read_field_list(real_data / "instrument" / "ZTF_Fields.txt").by_id
    common = [i for i in real if i < 2000]
    assert set(common) == set(ours)
    assert max(abs(ours[i].dec - real[i].dec) for i in common) < 0.2
    cos = np.array([np.cos(np.radians(real[i].dec)) for i in common])
    gap = np.array([(ours[i].ra - real[i].ra + 180) % 360 - 180 for i in common]) * cos
    assert np.median(np.abs(gap)) < 0.2  # evenly spaced rows are close to the hand-tuned ones


def test_a_broken_grid_file_names_its_line(tmp_path):
    path = tmp_path / "grid.txt"
    path.write_text("% comment\n000001 0.0\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        read_field_list(path)


def test_the_linearity_formula_holds_for_the_real_tables(real_data):
    """Reference 3.3: DN_true = x / (A x^2 + B x + 1) departs from x by 1 to 2 % at most, up to 60 kDN."""
    for name, worst in (("201803", 0.013), ("201910", 0.018), ("202004", 0.021)):
        rows = np.loadtxt(real_data / "instrument" / f"linearity_coeffs_{name}.txt", usecols=(3, 4))
        assert rows.shape == (64, 2)
        x = np.linspace(0, 60_000, 601)
        ratio = 1 / (rows[:, :1] * x**2 + rows[:, 1:] * x + 1)
        assert np.abs(ratio - 1).max() < worst
