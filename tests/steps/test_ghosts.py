"""The step: rows in, a model out, once; an earlier night's model masks this one."""

import datetime as dt

import numpy as np
import pytest
from builders import NOW, Installation

from zsds_tasks.lakehouse.checks import check_rows
from zsds_tasks.lakehouse.suites import handwritten_suite
from zsds_tasks.science.masking.ghost_model import ring_level, ring_profile
from zsds_tasks.science.masking.ghost_stamps import GhostStamp, Reflection
from zsds_tasks.steps.ghosts import (
    GhostsConfig,
    collect_rows,
    fit_ghosts,
    ghost_model_for,
    load_ghosts_config,
)
from zsds_tasks.steps.ghosts.collect import stamp_of

NIGHT, NEXT, YEARS_LATER = "20251012", "20251013", "20271013"
CONFIG = GhostsConfig()
VERSION = "0123456789ab"
OFFSET, FACTOR, OUTER, INNER, RATIO = 60 - 30j, 0.99 + 0j, 60.0, 24.0, 6e-4


def ghost(number, rng, ratio=RATIO):
    """Return a cut-out of a ghost away from where the prior has it."""
    star = complex(*rng.uniform(-1500, 1500, 2))
    flux, side = 10 ** rng.uniform(7.6, 8.2), 57
    axes = np.diag([-8.1, -8.1])
    empty = GhostStamp(
        Reflection.GHOST, number, flux, star, -star, axes, 0.5, 8, np.zeros((side, side - 2), np.float32)
    )
    away = np.abs(empty.places - OFFSET + FACTOR * star)
    light = flux * ring_level(OUTER, INNER, ratio) * ring_profile(away, OUTER, INNER, 6.0) if ratio else 0.0
    values = (light + rng.normal(50, 0.5, empty.values.shape)).astype(np.float32)
    values[0, 3] = np.nan
    return GhostStamp(Reflection.GHOST, number, flux, star, -star, axes, 0.5, 8, values)


def rows_of(stamps, night=NIGHT, fid=2, first=1000):
    return [
        row
        for k, stamp in enumerate(stamps)
        for row in collect_rows(
            [stamp], expid=first + k, rcid=k % 8, night=night, fid=fid, processing_version=VERSION
        )
    ]


def keep(place, night=NIGHT, fid=2, count=6, seed=1, ratio=RATIO, first=1000):
    rng = np.random.default_rng(seed)
    rows = rows_of([ghost(n, rng, ratio) for n in range(count)], night, fid, first)
    place.lakehouse.table("ghost_stamps").merge(rows)


@pytest.fixture
def place(tmp_path):
    return Installation.at(tmp_path)


def fit(place, night=NIGHT, now=NOW, config=CONFIG):
    return fit_ghosts(place.lakehouse, place.settings, night, now, config=config)


def test_the_shipped_configuration_is_a_prior_without_knowledge(include):
    config = load_ghosts_config(include)
    assert config == CONFIG
    model = config.prior
    assert (model.axis, model.offset, model.factor) == (0, 0, 1)


def test_cut_outs_survive_the_table(place):
    rng = np.random.default_rng(7)
    stamps = [ghost(n, rng) for n in range(2)]
    place.lakehouse.table("ghost_stamps").merge(rows_of(stamps))
    back = [stamp_of(row) for row in place.rows("ghost_stamps")]
    for stamp, read in zip(stamps, back, strict=True):
        assert np.array_equal(stamp.values, read.values, equal_nan=True)
        assert np.array_equal(stamp.axes, read.axes)
        for name in ("kind", "star_id", "flux", "star", "middle", "noise", "bin_px"):
            assert getattr(stamp, name) == getattr(read, name), name
    assert collect_rows([], expid=1, rcid=0, night=NIGHT, fid=1, processing_version=VERSION) == []


def test_a_night_is_fitted_once(place):
    keep(place)
    summary = fit(place)
    assert (summary.fitted, summary.accepted, summary.reason) == (1, ("filter 2",), "")
    assert summary.refused == ("filter 2: halos: no cut-outs of halos",)
    version = place.lakehouse.table("ghost_models").version()
    again = fit(place, now=NOW + dt.timedelta(days=1))
    assert (again.fitted, again.reason) == (0, "every model is fitted")
    assert place.lakehouse.table("ghost_models").version() == version
    (row,) = place.rows("ghost_models")
    assert (row["n_stamps"], row["fitted_at"]) == (6, NOW)
    assert again.as_dict()["accepted"] == []


def test_the_rows_are_as_declared_and_expected(place, include):
    keep(place)
    fit(place)
    for name in ("ghost_models", "ghost_stamps"):
        table = place.lakehouse.table(name)
        checked = check_rows(
            table.read(), table.declaration, handwritten_suite(name, include), version=table.version()
        )
        assert [(f.expected.description, f.observed) for f in checked.failed] == []


def test_new_cut_outs_or_another_configuration_fit_again(place):
    keep(place)
    fit(place)
    keep(place, count=2, seed=2, first=2000)
    assert fit(place).fitted == 1
    assert place.rows("ghost_models")[0]["n_stamps"] == 8
    coarser = CONFIG.model_copy(update={"fit": CONFIG.fit.model_copy(update={"cell_arcsec": 8.0})})
    assert fit(place, config=coarser).fitted == 1


def test_an_earlier_nights_model_masks_and_never_the_nights_own(place):
    assert ghost_model_for(place.lakehouse, 2, NEXT, config=CONFIG).model.source == "prior"
    keep(place)
    fit(place)
    own = ghost_model_for(place.lakehouse, 2, NIGHT, config=CONFIG)
    assert own.model.source == "prior"
    assert own.reason == "the prior: no accepted model within 365 days before"
    choice = ghost_model_for(place.lakehouse, 2, NEXT, config=CONFIG)
    assert (choice.model.source, choice.reason) == (NIGHT, f"fitted to night {NIGHT}")
    assert abs(choice.model.offset - OFFSET) < 3
    assert choice.model.factor == pytest.approx(FACTOR, abs=0.005)
    assert choice.model.flux_ratio == pytest.approx(RATIO, rel=0.1)
    assert choice.model.shape.values.dtype == np.float32
    assert ghost_model_for(place.lakehouse, 1, NEXT, config=CONFIG).model.source == "prior"
    assert ghost_model_for(place.lakehouse, 2, YEARS_LATER, config=CONFIG).model.source == "prior"


def test_a_refused_night_leaves_the_older_model_in_service(place):
    keep(place)
    keep(place, night=NEXT, ratio=0.0, first=3000)
    fit(place)
    summary = fit(place, NEXT)
    assert (summary.fitted, summary.accepted) == (1, ())
    assert "ghosts found, under 3" in summary.refused[0]
    row = next(row for row in place.rows("ghost_models") if row["night"] == NEXT)
    assert (row["accepted"], row["offset_east"], row["flux_ratio_sigma"]) == (False, 0.0, None)
    assert ghost_model_for(place.lakehouse, 2, "20251014", config=CONFIG).model.source == NIGHT


def test_filters_are_fitted_by_themselves(place):
    keep(place, fid=1)
    keep(place, fid=3, seed=4, first=5000)
    assert fit(place).accepted == ("filter 1", "filter 3")
    assert [row["fid"] for row in place.rows("ghost_models")] == [1, 3]


def test_a_night_without_cut_outs_has_nothing_to_do(place):
    summary = fit(place)
    assert (summary.fitted, summary.reason) == (0, "no cut-outs of ghosts or halos")
    assert place.rows("ghost_models") == []
