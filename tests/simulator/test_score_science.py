"""The score of calibrated images: met by a good pipeline, and each number sees its own fault and no other."""

from __future__ import annotations

import dataclasses
import json

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from science_rows import Errors, invented_truth, observed, simulated_truth, write_products
from scipy.interpolate import RectBivariateSpline

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.products.science_files import product_path
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.instrument import render
from zsds_tasks.simulator.instrument.optics import Optics
from zsds_tasks.simulator.instrument.psf import SMALLEST_SIGMA_PX, pixel_variance
from zsds_tasks.simulator.score_matching import (
    Channel,
    is_alone,
    match_sources,
    mutual_nearest,
)
from zsds_tasks.simulator.score_science import assess_science, score_science, with_science
from zsds_tasks.simulator.score_seeing import true_fwhm_arcsec
from zsds_tasks.simulator.score_statistics import crossing, repeatability, separation, width
from zsds_tasks.simulator.truth.artefacts import ARTEFACT_SCHEMA
from zsds_tasks.simulator.truth.tables import write_truth
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
GOOD = Errors()
FAULTS = {
    "astrometry east, mas": {"position_mas": 35.0},
    "zero-point error, mag": {"zero_point": 0.03},
    "flux pull width": {"sigma_factor": 1.15},
    "completeness": {"lost": 0.05},
    "purity": {"bogus": 60},
    "flux bias of bright stars, mmag": {"bright_bias": 0.012},
    "seeing error": {"seeing": 1.15},
    "S/N at the limit": {"limit": 0.2},
    "star-galaxy separation": {"class_scatter": 0.8},
}


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("truth"), camera="mini", workers=1)
    return settings, *invented_truth(settings, NIGHT)


@pytest.fixture
def assess(sky, tmp_path):
    """Return a function that writes a night measured with errors, and scores it."""
    settings, shots, truths = sky

    def run(errors=GOOD, *, skip=(), seed=1, change=None):
        lakehouse = open_lakehouse(settings.model_copy(update={"var": tmp_path}))
        rows = observed(settings, shots, truths, errors, skip=skip, seed=seed)
        if change:
            change(rows)
        for name, table in rows.items():
            if len(table):
                lakehouse.table(name).merge(table)
        return assess_science(lakehouse, settings.truth_folder, NIGHT)

    return run


def by_name(score):
    return {m.measure: m for m in score.measures}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_good_pipeline_meets_every_target(assess, seed):
    score = assess(seed=seed)
    assert [m for m in score.measures if not m.ok] == []
    found = by_name(score)
    assert found["astrometry east, mas"].value == pytest.approx(9, rel=0.15)
    assert found["zero-point error, mag"].value == pytest.approx(0.003, rel=0.4)
    assert found["half-completeness S/N"].value == pytest.approx(5, abs=0.2)
    assert found["S/N at the limit"].value == pytest.approx(5, abs=0.1)
    assert found["flux pull width"].value == pytest.approx(1, abs=0.04)
    assert len(found) == 14


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_seen_where_it_is(assess, name):
    found = by_name(assess(Errors(**FAULTS[name])))
    assert not found[name].ok
    # What follows from the fault itself, as limits do from the seeing; everything else stays met.
    kin = {
        "flux pull width": {"S/N at the limit", "half-completeness S/N"},
        "S/N at the limit": {"half-completeness S/N"},
        "astrometry east, mas": {"astrometry north, mas"},
        "completeness": {"half-completeness S/N"},
        "seeing error": {"S/N at the limit", "half-completeness S/N"},
        "zero-point error, mag": {"repeatability, mmag", "half-completeness S/N"},
        "flux bias of bright stars, mmag": {"zero-point error, mag"},
    }
    missed = {m for m, measure in found.items() if not measure.ok}
    assert missed - kin.get(name, set()) == {name}


def test_failed_quadrants_are_counted_and_judge_nothing(assess, sky):
    _, shots, _ = sky
    skip = {(shot.expid, rcid) for shot in shots for rcid in (1, 6)}
    found = by_name(assess(skip=skip))
    assert found["usable images"].value == 0.75
    assert not found["usable images"].ok
    assert found["completeness"].ok


def test_a_night_where_all_failed_has_one_number(assess):
    def change(rows):
        for row in rows["science_images"]:
            row |= {"status": 0, "stage": "psf", "reason": "no stars", "seeing": None, "magzp": None}
        rows["sources"] = []

    score = assess(change=change)
    assert [(m.measure, m.value) for m in score.measures] == [("usable images", 0.0)]
    assert set(score.curves["completeness"]["completeness"]) == {None}
    json.dumps(score.curves, allow_nan=False)


def test_images_without_sources_find_nothing(assess):
    found = by_name(assess(change=lambda rows: rows.update(sources=[])))
    assert found["completeness"].value == 0
    assert "purity" not in found
    assert "repeatability, mmag" not in found


def test_nights_that_were_not_processed_or_not_simulated(settings, sky):
    lakehouse = open_lakehouse(settings)
    assert score_science(lakehouse, settings.truth_folder, NIGHT) == []
    _, shots, truths = sky
    lakehouse.table("science_images").merge(observed(settings, shots, truths)["science_images"])
    assert assess_science(lakehouse, settings.truth_folder, NIGHT).curves == {}


def test_curves_are_small_json_and_follow_the_numbers(assess):
    score = assess(Errors(sigma_factor=1.2))
    text = json.dumps(score.curves, allow_nan=False)
    assert len(text) < 12_000
    curves = score.curves
    assert len(curves["completeness"]["depth"]) == len(curves["completeness"]["purity"])
    widths = [w for w in curves["pulls"]["flux"] if w is not None]
    assert np.median(widths) == pytest.approx(1.2, abs=0.05)
    scatter, expected = (np.array(curves["repeatability"]["r"][k], float) for k in ("mmag", "expected"))
    faint = np.isfinite(scatter) & (expected > 10)
    assert np.median(scatter[faint] / expected[faint]) == pytest.approx(1, abs=0.15)
    report = with_science({"sentence": "", "measures": [{}]}, score)
    assert len(report["measures"]) == 1 + len(score.measures)
    assert report["curves"] is score.curves


def test_repeatability_is_that_of_one_measure(assess):
    """Stars of S/N over 100 with a scatter of their own of 8 mmag, and clouds that are all the exposure's."""

    def change(rows):
        rng = np.random.default_rng(5)
        sources = rows["sources"]
        mag = sources["mag"].to_numpy() + rng.normal(0, 0.008, len(sources)).astype(np.float32)
        of_expid = {e: 0.02 * n for n, e in enumerate(sorted(set(sources["expid"].to_pylist())))}
        mag += np.array([of_expid[e] for e in sources["expid"].to_pylist()], np.float32)
        rows["sources"] = sources.set_column(
            sources.schema.get_field_index("mag"), sources.schema.field("mag"), pa.array(mag)
        )

    # Photon noise of these stars is about 5 mmag, the images' zero points 3.
    assert by_name(assess(change=change))["repeatability, mmag"].value == pytest.approx(10, abs=1.3)


def test_the_simulator_s_own_truth_is_understood(settings):
    shots, truths = simulated_truth(settings, NIGHT, fields=(4,), visits=1, exposures=12)
    lakehouse = open_lakehouse(settings)
    for name, table in observed(settings, shots, truths).items():
        lakehouse.table(name).merge(table)
    measures = score_science(lakehouse, settings.truth_folder, NIGHT)
    assert len(measures) >= 11
    assert [m for m in measures if not m.ok] == []


def test_masks_are_scored_by_kind(sky, tmp_path):
    settings, shots, truths = sky
    shot = shots[0]
    artefacts, bits = planted(shot.expid)
    local = settings.model_copy(update={"var": tmp_path})
    lakehouse = open_lakehouse(local)
    camera = load_camera("mini", settings.include)
    rows = observed(settings, [shot], truths)
    row = next(r for r in rows["science_images"] if r["rcid"] == 2)
    for other in rows["science_images"]:
        if other is not row:
            other["products"] = []
    write_products(lakehouse, camera, row, truths[shot.expid], np.random.default_rng(1), bits)
    for name, table in rows.items():
        lakehouse.table(name).merge(table)
    try:
        write_truth(settings.truth_folder, NIGHT, {"artefacts": artefacts})
        found = by_name(assess_science(lakehouse, settings.truth_folder, NIGHT))
        lakehouse.storage.delete(product_path(row, "mskimg"))
        gone = by_name(assess_science(lakehouse, settings.truth_folder, NIGHT))
    finally:
        empty = pa.Table.from_pylist([], schema=ARTEFACT_SCHEMA)
        write_truth(settings.truth_folder, NIGHT, {"artefacts": empty})
    assert found["cosmic ray masked"].value == 0.5
    assert found["bleed masked"].value == 1
    assert found["trail masked"].value == pytest.approx(0.5, abs=0.02)
    assert found["ghost masked"].value == 1
    assert found["halo masked"].value == 0
    assert found["spike purity"].value == pytest.approx(0.75)
    assert not {m for m in gone if "masked" in m}


def planted(expid):
    """Two rays, one masked; a full bleed; half a trail; a ghost; a halo nobody saw; and a spike of no ray."""
    base = {"expid": expid, "rcid": 2, "object_id": -1, "radius": 1.0, "electrons": 5e3}

    def row(kind, x, y, x_end=None, y_end=None, **more):
        return base | {"kind": kind, "x": x, "y": y, "x_end": x_end or x, "y_end": y_end or y} | more

    rows = [
        row("cosmic ray", 100.0, 200.0, 103.0, 200.0),
        row("cosmic ray", 300.0, 300.0, 305.0, 300.0),
        row("bleed", 400.0, 100.0, 400.0, 149.0, radius=0.5),
        row("trail", 1.0, 600.0, 768.0, 600.0, radius=1.5, electrons=3e6),
        row("trail", 1.0, 50.0, 768.0, 50.0, radius=1.5, electrons=30.0),  # too faint to matter
        row("ghost", 600.0, 300.0, radius=64.0, electrons=2e6),
        row("halo", 200.0, 450.0, radius=60.0, electrons=2e6),
        row("halo", 200.0, 450.0, radius=360.0, electrons=1e3),
        row("cosmic ray", 700.0, 5.0) | {"rcid": 3},
    ]
    y, x = np.mgrid[0:770, 0:768]
    bits = [
        (MaskBit.SPIKE, slice(199, 200), slice(99, 102)),
        (MaskBit.SPIKE, 700, 700),
        (MaskBit.SATURATED, slice(99, 149), 399),
        (MaskBit.TRACK, slice(590, 610), slice(0, 384)),
        (MaskBit.GHOST, *np.nonzero((x - 599) ** 2 + (y - 299) ** 2 <= 70**2)),
    ]
    return pa.Table.from_pylist(rows, schema=ARTEFACT_SCHEMA), bits


@pytest.mark.parametrize(("seeing", "rcid"), [(1.2, 0), (1.6, 5), (2.6, 7)])
def test_the_true_fwhm_is_that_of_a_drawn_star(include, seeing, rcid):
    camera, config = load_camera("mini", include), load_simulator(include).instrument
    optics = Optics(camera, config.optics, 1)
    flat = config.psf.model_copy(update={"curvature": 0.0, "tilt": (0.0, 0.0)})
    image = np.zeros((61, 61), np.float32)
    variance = (seeing / camera.mosaic.pixel_scale_arcsec) ** 2
    star = np.array([[30.0, 30.0, 1e6, variance, 0.0, variance, 0.0, 0.0, 0.0]])
    render.add_sources(
        image,
        star,
        flat.core.weights,
        flat.core.variances,
        np.ones(1),
        np.zeros(1),
        pixel_variance(flat),
        SMALLEST_SIGMA_PX**2,
        1e-3,
    )
    fine = RectBivariateSpline(np.arange(61), np.arange(61), image)(30, np.linspace(30, 45, 3001))[0]
    half = 15 * np.argmax(fine < fine[0] / 2) / 3000
    expected = 2 * half * camera.mosaic.pixel_scale_arcsec
    assert true_fwhm_arcsec(seeing, camera, rcid, flat, optics) == pytest.approx(expected, rel=0.02)
    wide = true_fwhm_arcsec(seeing, camera, rcid, config.psf, optics)
    assert wide == pytest.approx(expected, rel=0.12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 10**6))
def test_partners_choose_each_other(n, m, seed):
    rng = np.random.default_rng(seed)
    here, there = rng.uniform(0, 20, (n, 2)), rng.uniform(0, 20, (m, 2))
    partner = mutual_nearest(here, there, 1.5)
    distance = np.hypot(*(here[:, None] - there[None]).transpose(2, 0, 1)) if n and m else np.zeros((n, m))
    for i, j in enumerate(partner):
        if j >= 0:
            assert distance[i, j] == distance[i].min() == distance[:, j].min() < 1.5
    chosen = partner[partner >= 0]
    assert len(set(chosen.tolist())) == len(chosen)
    if n and m and distance.min() < 1.5:
        assert len(chosen)


@given(st.integers(0, 30), st.integers(0, 10**6))
def test_only_the_fainter_of_two_is_disturbed(n, seed):
    rng = np.random.default_rng(seed)
    places, flux = rng.uniform(0, 30, (n, 2)), 10 ** rng.uniform(0, 4, n)
    alone = is_alone(places, flux, 6.0)
    for i in range(n):
        close = np.hypot(*(places - places[i]).T) <= 6.0
        close[i] = False
        assert alone[i] == (not (flux[close] > 0.01 * flux[i]).any())


def test_edges_saturation_and_flags_do_not_judge():
    channel = Channel(1, 0, 2, 26.0, 0.1, 21.0, 50_000.0, 2.0, 6.0, (100, 200))
    flux = np.array([1e4, 1e4, 1e6, 1e4, 1e4])
    truth = {
        "x": np.array([50.0, 5.0, 120.0, 140.0, 190.0]),
        "y": np.array([50.0, 50.0, 50.0, 50.0, 20.0]),
        "flux_dn": flux,
        "mag": 26 - 2.5 * np.log10(flux),
        "colour": np.array([0.5, 0.5, np.nan, 0.5, 0.5]),
    }
    found = {
        "xpos": truth["x"] + 0.3,
        "ypos": truth["y"],
        "mag": np.append(truth["mag"][:4], np.nan),
        "flags": np.array([0, -1, 256, 0, 0]),
    }
    match = match_sources(truth, found, channel)
    assert match.partner.tolist() == [0, 1, 2, 3, 4]
    assert match.fit.tolist() == [True, False, False, False, False]  # edge, full, beside it, edge
    assert match.judged.tolist() == [True, False, False, True, False]
    assert match.is_real.tolist() == [True, True, True, True, False]


def test_expected_noise_is_sky_and_photons():
    channel = Channel(1, 0, 2, 26.0, 0.0, 21.0, 5e4, 2.0, 6.0, (10, 10))
    limit = channel.expected_flux(np.array([21.0]), np.zeros(1))
    assert dataclasses.replace(channel, gain=1e9).expected_snr(limit)[0] == pytest.approx(5)
    assert channel.expected_snr(limit)[0] == pytest.approx(100 / np.sqrt(400 + 100 / 6))
    assert channel.expected_snr(np.array([1e6]))[0] == pytest.approx(np.sqrt(6e6), rel=0.01)
    redder = dataclasses.replace(channel, clrcoeff=0.1)
    assert redder.expected_flux(np.array([20.0]), np.ones(1))[0] == pytest.approx(10 ** (0.4 * 6.1))


@given(st.integers(2, 5), st.integers(0, 10**6))
@hypothesis.settings(max_examples=20)
def test_what_is_common_to_a_thing_or_a_frame_is_taken_away(frames, seed):
    rng = np.random.default_rng(seed)
    thing, frame = (a.ravel() for a in np.mgrid[0:2000, 0:frames])
    common = rng.normal(0, 5, 2000)[thing] + rng.normal(0, 1, frames)[frame]
    assert np.abs(repeatability(common, thing, frame)).max() < 0.2
    noise = rng.normal(0, 0.3, len(thing))
    assert width(repeatability(common + noise, thing, frame)) == pytest.approx(0.3, rel=0.12)
    assert np.isnan(repeatability(np.ones(3), np.arange(3), np.zeros(3))).all()


def test_separation_and_crossing_by_hand():
    assert separation(np.array([3, 0]), np.array([0, 5])) == 1
    assert separation(np.array([2, 2]), np.array([2, 2])) == 0.5
    assert np.isnan(separation(np.zeros(2), np.ones(2)))
    assert crossing(np.array([0, 1, 2]), np.array([1.0, 0.75, 0.25]), 0.5) == 1.5
    assert np.isnan(crossing(np.array([0, 1]), np.array([1.0, 0.9]), 0.5))
