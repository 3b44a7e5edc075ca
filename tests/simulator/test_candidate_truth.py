"""Labels of candidates: what was planted is real with its sign and amount, and nothing else is."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from candidate_builders import ARTEFACTS, found, image_truth, sources
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.simulator.candidate_artefacts import ARTEFACT_KINDS
from zsds_tasks.simulator.candidate_changes import ReferenceSky, flux_of, magnitude_of
from zsds_tasks.simulator.candidate_truth import LABEL_SCHEMA, LabelConfig, label_candidates, label_image
from zsds_tasks.survey.nights import ObservingNight

QUIET = sources((1, "star", 100, 100, 15.0), (2, "galaxy", 200, 200, 17.0), (3, "variable", 300, 300, 16.0))


def label(candidates, truth):
    return label_image(candidates, truth, LabelConfig())


def with_rows(base, *rows):
    more = sources(*rows)
    return {name: np.concatenate([base[name], more[name]]) for name in base}


def artefact(kind, x, y, x_end=None, y_end=None, radius=1.0):
    ends = (x, y, x if x_end is None else x_end, y if y_end is None else y_end, radius)
    return {"kind": np.array([kind])} | {
        name: np.array([float(v)]) for name, v in zip(list(ARTEFACTS)[1:], ends, strict=True)
    }


def test_what_changed_is_real_with_its_kind_and_magnitude():
    now = with_rows(
        sources((3, "variable", 300, 300, 15.5)),
        (10, "supernova", 202, 201, 18.0),
        (11, "transient", 400, 100, 19.0),
        (12, "asteroid", 500, 400, 19.5, 0.008),
    )
    truth = image_truth(now, [QUIET, QUIET])
    change = float(magnitude_of(flux_of(15.5) - flux_of(16.0)))
    labels = label(
        found((300.2, 300, change, True), (202, 201, 18.1, True), (400, 100.3, 18.9, True),
              (500, 400, 19.4, True)),
        truth,
    )  # fmt: skip
    assert labels["is_real"].all()
    assert labels["kind"].tolist() == ["variable", "transient", "transient", "asteroid"]
    assert labels["object_id"].tolist() == [3, 10, 11, 12]
    assert labels["mag"] == pytest.approx([change, 18.0, 19.0, 19.5], abs=1e-6)
    assert labels["separation_arcsec"] == pytest.approx([0.2, 0, 0.3, 0], abs=0.01)


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        ((400, 100, 19.0, False), "the wrong sign"),
        ((400, 100, 17.5, True), "four times its flux"),
        ((400, 100, 20.8, True), "a fifth of its flux"),
        ((402, 100, 19.0, True), "too far away"),
        ((400, 100, np.nan, True), "no flux at all"),
    ],
)
def test_a_candidate_that_a_change_cannot_give_is_not_real(candidate, why):
    truth = image_truth(sources((11, "transient", 400, 100, 19.0)), [sources()])
    labels = label(found(candidate), truth)
    assert not labels["is_real"][0], why
    assert labels["kind"][0] in {"change_residual", "unexplained"}


def test_a_steady_star_next_to_a_residual_makes_nothing_real():
    """Thousands of stars in reach of each other; none changed."""
    random = np.random.default_rng(3)
    crowd = sources(*((n, "star", *random.uniform(20, 900, 2), random.uniform(14, 20)) for n in range(4000)))
    candidates = found(*((*random.uniform(20, 900, 2), random.uniform(17, 20.5), True) for _ in range(500)))
    labels = label(candidates, image_truth(crowd, [crowd, crowd]))
    assert not labels["is_real"].any()
    assert "star_residual" in labels["kind"]


def test_what_faded_is_negative():
    past = sources((11, "transient", 400, 100, 18.0), (3, "variable", 300, 300, 16.0))
    truth = image_truth(sources((3, "variable", 300, 300, 17.0)), [past, past])
    change = float(magnitude_of(flux_of(16.0) - flux_of(17.0)))
    labels = label(found((400, 100, 18.05, False), (300, 300, change, False)), truth)
    assert labels["is_real"].tolist() == [True, True]
    assert labels["kind"].tolist() == ["transient", "variable"]


def test_supernovae_that_no_image_tells_apart_are_one_change():
    galaxy = (2, "galaxy", 400, 100, 16.0)
    three = sources(galaxy, *((n, "supernova", 400 + 0.4 * n, 100, 20.0) for n in (-1, 0, 1)))
    total = float(magnitude_of(3 * flux_of(20.0)))
    labels = label(
        found((400, 100, total, True), (400, 100, total, False)), image_truth(three, [sources(galaxy)])
    )
    assert labels["kind"].tolist() == ["transient", "change_residual"]
    assert labels["mag"][0] == pytest.approx(20.0)
    apart = image_truth(
        sources(galaxy, *((n, "supernova", 400 + 2 * n, 100, 20.5) for n in (-1, 0, 1))), [sources(galaxy)]
    )
    assert not label(found((400, 100, total, True)), apart)["is_real"].any()


def test_light_that_some_epochs_hold_counts_by_their_share():
    """Half of the epochs have the transient at its present brightness: half of it is the change."""
    with_it = sources((11, "transient", 400, 100, 18.0))
    truth = image_truth(with_it, [with_it, sources()])
    assert truth.changes.flux == pytest.approx(flux_of(18.0) / 2)
    steady = image_truth(with_it, [with_it, with_it])
    assert len(steady.changes) == 0


def test_an_epoch_of_thrice_the_weight_counts_like_three():
    deep = sources(
        (3, "variable", 300, 300, 15.0), (11, "transient", 400, 100, 18.0), (12, "asteroid", 9, 9, 19)
    )
    poor = sources((3, "variable", 300, 301, 16.0), (1, "star", 100, 100, 15.0))
    rows = {name: np.concatenate([deep[name], poor[name]]) for name in deep}
    weighed = ReferenceSky.of_epochs(rows | {"weight": np.array([3.0, 3.0, 3.0, 1.0, 1.0])}, 4.0)
    often = {name: np.concatenate([deep[name]] * 3 + [poor[name]]) for name in deep}
    repeated = ReferenceSky.of_epochs(often, 4)
    for name in ("object_id", "flux", "natural", "ra", "dec"):
        assert getattr(weighed, name) == pytest.approx(getattr(repeated, name), rel=1e-12), name
    assert weighed.passing_flux.sum() == pytest.approx(repeated.passing_flux.sum())
    assert weighed.flux[weighed.object_id == 11] == pytest.approx(flux_of(18.0) * 0.75)


def test_a_star_that_moved_leaves_both_halves_of_a_dipole():
    before, now = sources((5, "star", 400, 400, 14.0)), sources((5, "star", 400.2, 400, 14.0))
    truth = image_truth(now, [before, before])
    lobe = float(magnitude_of(flux_of(14.0) * 0.1))  # F d / FWHM = F 0.2 / 2
    labels = label(found((401.4, 400, lobe, True), (399.0, 400, lobe, False)), truth)
    assert labels["kind"].tolist() == ["moving_star", "moving_star"]
    assert labels["is_real"].all()


def test_a_fast_body_is_a_streak_along_its_way():
    truth = image_truth(sources((12, "asteroid", 500, 400, 17.0, 1.0)), [sources()])
    labels = label(found((512, 400, 19.0, True), (488, 400.5, 19.0, True), (517, 400, 19.0, True)), truth)
    assert labels["kind"].tolist() == ["streak", "streak", "unexplained"]


@pytest.mark.parametrize(
    ("kind", "where", "planted"),
    [
        ("cosmic_ray", (50, 60), {"artefacts": artefact("cosmic ray", 45, 55, 55, 65)}),
        ("satellite", (50, 60), {"artefacts": artefact("trail", 0, 50, 100, 70, 2.0)}),
        ("saturated", (50, 60), {"artefacts": artefact("bleed", 50, 40, 50, 90)}),
        ("saturated", (110, 100), {"full": (1,)}),
        ("bad_pixel", (50, 60), {"defects": {"kind": np.array(["hot"])} | dict.fromkeys("x", np.array([51]))
                                 | dict.fromkeys("y", np.array([60]))}),
        ("bad_pixel", (50, 60), {"defects": {"kind": np.array(["blocked column"])}
                                 | dict.fromkeys("x", np.array([51])) | dict.fromkeys("y", np.array([5]))}),
        ("edge", (50, 5), {}),
        ("star_residual", (100.5, 100), {}),
        ("galaxy_residual", (201, 201), {}),
        ("ghost", (50, 60), {"artefacts": artefact("ghost", 70, 60, radius=40)}),
        ("halo", (50, 60), {"artefacts": artefact("halo", 70, 60, radius=40)}),
        ("unexplained", (50, 60), {}),
    ],
)  # fmt: skip
def test_what_is_not_real_is_called_by_what_lies_there(kind, where, planted):
    truth = image_truth(QUIET, [QUIET], **planted)
    labels = label(found((*where, 20.0, True)), truth)
    assert labels["kind"].tolist() == [kind]
    assert not labels["is_real"][0]
    expected = {"star_residual": 1, "galaxy_residual": 2}.get(kind, -1)
    assert labels["object_id"][0] == expected


def test_a_body_in_one_epoch_alone_is_the_references_fault():
    truth = image_truth(sources(), [sources((12, "asteroid", 500, 400, 17.0)), sources(), sources()])
    labels = label(found((500, 400, 18.2, False)), truth)
    assert labels["kind"].tolist() == ["passed"]


@given(
    st.integers(1, 40),
    st.floats(0.55, 2.8),
    st.integers(0, 2**32 - 1),
)
def test_order_of_candidates_does_not_matter_and_amounts_decide(n, share, seed):
    random = np.random.default_rng(seed)
    places = np.column_stack([np.arange(n) * 20 + 30.0, random.uniform(30, 900, n)])
    mags = random.uniform(15, 20, n)
    planted = sources(*((k, "transient", *p, m) for k, (p, m) in enumerate(zip(places, mags, strict=True))))
    truth = image_truth(planted, [sources()])
    rows = [(*p, m + 2.5 * np.log10(share), True) for p, m in zip(places, mags, strict=True)]
    order = random.permutation(n)
    labels = label(found(*(rows[k] for k in order)), truth)
    assert labels["is_real"].all()
    assert labels["object_id"].tolist() == order.tolist()


def test_nothing_found_and_nothing_true():
    assert len(label(found((50, 60, 20.0, True)), image_truth(sources(), [sources()]))["kind"]) == 1
    none = {name: values[:0] for name, values in found((50, 60, 20.0, True)).items()}
    assert len(label(none, image_truth(QUIET, [QUIET]))["kind"]) == 0
    assert set(label(found((50, 60, 20.0, True)), image_truth(QUIET, [QUIET]))["kind"]) <= set(ARTEFACT_KINDS)


def test_without_truth_of_its_epochs_a_variable_is_compared_with_its_mean():
    now = sources((3, "variable", 300, 300, 15.0), (11, "transient", 400, 100, 18.0)) | {
        "mean_mag": np.array([16.0, np.nan])
    }
    reference = ReferenceSky.of_means(now)
    assert reference.object_id.tolist() == [3]
    assert magnitude_of(reference.flux) == pytest.approx([16.0])


def test_thousands_of_candidates_a_second():
    random = np.random.default_rng(8)
    crowd = sources(
        *((n, "star", *random.uniform(20, 3000, 2), random.uniform(14, 21)) for n in range(10_000))
    )
    candidates = found(*((*random.uniform(20, 3000, 2), random.uniform(17, 21), True) for _ in range(5000)))
    truth = image_truth(crowd, [crowd])
    began = time.process_time()
    label(candidates, truth)
    assert time.process_time() - began < 1.5


def test_a_night_that_was_not_simulated(settings, tmp_path):
    rows = pa.table({"candid": pa.array([], pa.int64())})
    with pytest.raises(NothingToDoError):
        label_candidates(rows, tmp_path, ObservingNight.parse("20251012"), open_lakehouse(settings))
    assert LABEL_SCHEMA.names[0] == "candid"
