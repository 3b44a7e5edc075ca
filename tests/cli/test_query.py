"""``zsds query`` as it is typed."""

from __future__ import annotations

import io
import sys

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from zsds_tasks import cli
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.settings import Settings, load_settings


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    from lake_builder import fill, make_stars

    settings = Settings(var=tmp_path_factory.mktemp("lake"), workers=1)
    stars = make_stars(constants=4, rrlyrae=1, eclipsing=0)
    fill(settings, stars, 90)
    for name in ("lightcurves", "objects"):
        open_lakehouse(settings).publish(name)
    return settings, stars[0]


@pytest.fixture
def zsds(monkeypatch, lake):
    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["zsds", "query", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    monkeypatch.setenv("ZSDS_VAR", str(lake[0].var))
    load_settings.cache_clear()
    yield call
    load_settings.cache_clear()


def test_a_cone_prints_what_lies_there(zsds, lake, capsys):
    star = lake[1]
    assert zsds("cone", str(star.ra), str(star.dec), "5", "--columns", "objectid,period") == 0
    told = capsys.readouterr().out
    assert f"{star.period:.6g}"[:6] in told
    assert "1 of 1 rows" in told


def test_a_southern_declination_is_no_option(zsds, capsys):
    assert zsds("cone", "2.0", "-1.2", "5") == 0
    assert "0 of 0 rows" in capsys.readouterr().out


def test_files_hold_the_rows_in_the_format_of_their_ending(zsds, lake, tmp_path, capsysbinary):
    star = lake[1]
    place = (str(star.ra), str(star.dec), "5")
    assert zsds("cone", *place, "--output", str(tmp_path / "a.parquet"), "--release", "live") == 0
    rows = pq.read_table(tmp_path / "a.parquet")
    assert rows.column_names[:2] == ["distance", "objectid"]
    assert zsds("cone", *place, "--table", "lightcurves", "--output", str(tmp_path / "a.vot")) == 0
    assert b"<VOTABLE" in (tmp_path / "a.vot").read_bytes()
    capsysbinary.readouterr()
    name = str(rows["objectid"][0].as_py())
    assert zsds("id", name, "--table", "lightcurves", "--format", "csv") == 0
    epochs = pa_csv.read_csv(io.BytesIO(capsysbinary.readouterr().out))
    assert epochs.num_rows == 90
    assert epochs.schema.field("mag").type == pa.float64()


def test_a_picture_is_folded_at_the_period_known_found_or_given(zsds, lake, tmp_path, monkeypatch):
    import zsds_tasks.catalog.plot as room

    star = lake[1]
    periods = []
    monkeypatch.setattr(room, "plot_light_curves", lambda *_, period: periods.append(period))
    place = ("cone", str(star.ra), str(star.dec), "5", "--plot", str(tmp_path / "a.png"))
    assert zsds(*place) == 0
    assert zsds(*place, "--fold") == 0
    assert zsds(*place, "--period", "1.25") == 0
    assert periods == [None, star.period, 1.25]


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("cone", "abc", "1", "5"), "is no angle"),
        (("cone", "1", "95", "5"), "not from -90 to 90"),
        (("cone", "1", "2", "-5"), "is no cone"),
        (("cone", "1", "2", "5", "--table", "nonsense"), "has no table"),
        (("cone", "1", "2", "5", "--columns", "nonsense"), "unknown column"),
        (("cone", "1", "2", "5", "--release", "dr7"), "no such release"),
        (("cone", "1", "2", "5", "--output", "a.xlsx"), "is no format"),
        (("cone", "1", "2", "5", "--plot", "a.png"), "no light curve lies there"),
        (("cone", "1", "2", "5", "--output", "no/such/folder/a.csv"), "cannot be written"),
        (("id", "77", "--plot", "no/such/folder/a.png"), "cannot be written"),
        (("id", "77"), "is not there"),
    ],
)
def test_wrong_questions_exit_with_4_and_the_reason(zsds, capsys, words, fact):
    assert zsds(*words) == 4
    assert fact in " ".join(capsys.readouterr().err.split())
