from __future__ import annotations

import sys

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from zsds_tasks import cli
from zsds_tasks.cli.conditions import parse_conditions
from zsds_tasks.errors import (
    ConfigurationError,
    NothingToDoError,
    TransientError,
    UnusableInputError,
)

COMMANDS = (
    "run", "up", "down", "airflow", "doctor", "warm", "simulate", "ingest", "assess", "masters", "process",
    "residuals", "refine", "leds", "references", "difference", "check", "publish", "score", "report", "tidy",
    "alerts", "lineage", "table", "dictionary", "train", "models", "lightcurves", "query", "release",
    "diff", "objects", "survey",
)  # fmt: skip


@pytest.fixture
def zsds(monkeypatch, tmp_path):
    """Run the real entry point; return exit code and what was printed."""

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["zsds", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    monkeypatch.setenv("ZSDS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("ZSDS_WORKERS", "1")
    return call


def test_help_names_every_command():
    text = CliRunner().invoke(cli.app, ["--help"]).output
    for command in COMMANDS:
        assert command in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_nothing_to_ingest_exits_with_3_and_says_so(zsds, capsys):
    assert zsds("ingest") == 3
    assert "error:" in capsys.readouterr().err


def test_a_wrong_night_exits_with_4_and_the_remedy(zsds, capsys):
    assert zsds("check", "yesterday") == 4
    assert "YYYYMMDD" in capsys.readouterr().err


def test_catalogs_are_checked_by_name(zsds, capsys):
    assert zsds("check", "catalogs") == 3
    assert "no rows" in capsys.readouterr().err
    assert zsds("check", "catalogs", "--table", "raw_exposures") == 4
    assert "no catalogue" in capsys.readouterr().err


def test_an_unknown_table_exits_with_5_and_the_known_ones(zsds, capsys):
    assert zsds("table", "show", "nonsense") == 5
    assert "raw_exposures" in " ".join(capsys.readouterr().err.split())


def test_a_wrong_camera_makes_the_doctor_exit_with_5(zsds, monkeypatch, capsys):
    monkeypatch.setenv("ZSDS_CAMERA", "lsst")
    assert zsds("doctor") == 5
    assert "NO" in capsys.readouterr().out


def test_exit_codes_differ_by_what_to_do():
    codes = [
        cli.EXIT_CODES[kind]
        for kind in (NothingToDoError, UnusableInputError, ConfigurationError, TransientError)
    ]
    assert codes == [3, 4, 5, 75]


def test_conditions_take_the_type_of_their_column():
    schema = pa.schema([("expid", pa.int64()), ("night", pa.string()), ("is_science", pa.bool_())])
    words = ["expid=12", "night=20251012", "is_science=true"]
    assert parse_conditions(words, schema) == {"expid": 12, "night": "20251012", "is_science": True}


@pytest.mark.parametrize("word", ["expid", "colour=red", "=1"])
def test_a_condition_on_no_column_names_the_columns(word):
    with pytest.raises(ConfigurationError, match="columns: expid"):
        parse_conditions([word], pa.schema([("expid", pa.int64())]))


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(ConfigurationError, match="not a value of type int64"):
        parse_conditions(["expid=1; DROP TABLE"], pa.schema([("expid", pa.int64())]))


def test_an_impossible_setting_exits_with_5_and_its_name(zsds, monkeypatch, capsys):
    monkeypatch.setenv("ZSDS_WORKERS", "-1")
    assert zsds("doctor") == 5
    assert "ZSDS_WORKERS='-1'" in capsys.readouterr().err
