"""Features, triplets and scores of candidates; models that are missing, wrong or changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from realbogus_builders import candidates_of, stamps_of

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.products.tables import arrow_schema, load_table
from zsds_tasks.science.realbogus import (
    FEATURES,
    ModelConfig,
    Models,
    RealBogusConfig,
    feature_matrix,
    load_models,
    load_realbogus_config,
    normalise_triplets,
    score_candidates,
)
from zsds_tasks.science.realbogus.features import DECLARED
from zsds_tasks.science.realbogus.models import CARD, MODEL
from zsds_tasks.settings import REPOSITORY

IS_REAL = np.array([True, False, True, True, False])
FORBIDDEN = {"ra", "dec", "xpos", "ypos", "jd", "pid", "fid", "field", "rcid", "candid", "night", "isdiffpos"}


def constant_model(folder, version, kind, value=0.25, shape=None):
    """A model that always gives one probability, with a right card."""
    from onnx import TensorProto, helper

    shape = shape or {"features": [len(FEATURES)], "images": [3, 63, 63]}[kind]
    axes = list(range(1, len(shape) + 1))
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=axes, keepdims=0),
            helper.make_node("Greater", ["mean", "huge"], ["never"]),  # not even where features are unknown
            helper.make_node("Cast", ["never"], ["nothing"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["nothing", "value"], ["p"]),
        ],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor("huge", TensorProto.FLOAT, [], [1e30]),
            helper.make_tensor("value", TensorProto.FLOAT, [], [value]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    place = folder / "models" / "realbogus" / version
    place.mkdir(parents=True, exist_ok=True)
    (place / MODEL).write_bytes(model.SerializeToString())
    card = {
        "version": version,
        "kind": kind,
        "sha256": hashlib.sha256((place / MODEL).read_bytes()).hexdigest(),
        "features": list(FEATURES) if kind == "features" else [],
    }
    (place / CARD).write_text(json.dumps(card))
    return place


def config_of(tmp_path, rb=None, drb=None):
    return RealBogusConfig(
        features=ModelConfig(version=rb) if rb else None, images=ModelConfig(version=drb) if drb else None
    )


def test_features_have_no_scale():
    table = candidates_of(IS_REAL, sky=np.full(5, 0.1))
    brighter = candidates_of(IS_REAL, sky=np.full(5, 1.0), flux=np.full(5, 1000.0))
    for name in ("magap", "magapbig", "magpsf", "magnr"):
        k = brighter.schema.get_field_index(name)
        brighter = brighter.set_column(k, name, pa.array(table[name].to_numpy() - 2.5))
    assert np.allclose(feature_matrix(table), feature_matrix(brighter), atol=1e-5, equal_nan=True)


def test_features_do_not_say_where_or_when():
    class Watched:
        asked: set[str] = set()  # noqa: RUF012 - one test

        def __getitem__(self, name):
            self.asked.add(name)
            return np.ones(2)

    for feature in DECLARED:
        feature.value(Watched())
        assert feature.why
    assert len(set(FEATURES)) == len(FEATURES)
    assert not Watched.asked & FORBIDDEN


def test_features_that_are_missing_are_unknown():
    found = feature_matrix(pa.table({"scorr": [7.0, None], "chipsf": [np.inf, 1.0]}))
    assert found.shape == (2, len(FEATURES))
    assert np.isfinite(found[0, FEATURES.index("strength")])
    assert np.isnan(found[0, FEATURES.index("dipole")])
    assert not np.isinf(found).any()


def test_a_cosmic_ray_of_a_reference_is_told_from_a_star_and_a_galaxy():
    found = feature_matrix(
        candidates_of(
            IS_REAL,
            distnr=np.array([0.1, 0.1, 0.1, 0.1, 12.0]),
            sharpnr=np.array([0.0, -0.6, 0.6, -0.3, -0.6]),  # star, cosmic ray, galaxy, faint star, far away
            chinr=np.array([1.0, 7.0, 20.0, 1.0, 7.0]),
        )
    )[:, FEATURES.index("spikenr")]
    assert found[1] == pytest.approx(3.6)
    assert np.all(found[[0, 2, 3]] == 0)
    assert np.isnan(found[4])


def test_triplets_have_unit_norm_and_no_sky():
    stamps = stamps_of(IS_REAL)
    stamps[:, :, :5] = np.nan
    found = normalise_triplets(stamps)
    assert np.allclose((found.astype(float) ** 2).sum(axis=(2, 3)), 1.0, atol=1e-5)
    assert np.all(found[:, :, :5] == 0)
    sky = np.array([200.0, 100.0, 0.0], np.float32)[:, None, None]
    assert np.allclose(normalise_triplets(7.0 * (stamps + sky)), found, atol=1e-5)


def test_triplets_do_not_mind_the_sign_of_the_difference():
    stamps = stamps_of(IS_REAL)
    turned = stamps.copy()
    turned[:, 2] *= -1
    found = normalise_triplets(stamps)
    assert np.array_equal(found, normalise_triplets(turned))
    assert np.all(found[IS_REAL, 2, 31, 31] > 0)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_triplets_of_nothing_are_finite(value):
    assert np.all(normalise_triplets(np.full((2, 3, 63, 63), value)) == 0)
    assert normalise_triplets(np.zeros((0, 3, 63, 63))).shape == (0, 3, 63, 63)


def test_triplets_of_another_size_are_refused():
    with pytest.raises(ValueError, match="31"):
        normalise_triplets(np.zeros((2, 3, 31, 31)))


def test_scores_and_versions_are_set_together(tmp_path):
    constant_model(tmp_path, "toy_f", "features", 0.25)
    constant_model(tmp_path, "toy_d", "images", 0.75)
    models = load_models(tmp_path, config_of(tmp_path, "toy_f", "toy_d"))
    table = candidates_of(IS_REAL, scorr=np.array([5.0, 4.9, 9.0, 30.0, 4.0]))
    stamps = stamps_of(IS_REAL)
    found = score_candidates(table, stamps, models)
    assert found["rb"].to_pylist() == [0.25, None, 0.25, 0.25, None]
    assert found["drb"].to_pylist() == [0.75, None, 0.75, 0.75, None]
    assert found["rbversion"].to_pylist() == ["toy_f", "", "toy_f", "toy_f", ""]
    assert found.equals(score_candidates(table, stamps[[0, 2, 3]], models))
    assert {word.split()[0] for word in models.versions} == {"toy_f", "toy_d"}
    with pytest.raises(ValueError, match="2 triplets"):
        score_candidates(table, stamps[:2], models)


def test_without_models_scores_are_null_and_the_schema_stays():
    schema = arrow_schema(load_table("candidates"))
    rows = pa.table({f.name: pa.array([6.0 if f.name == "scorr" else None], f.type) for f in schema}).cast(
        pa.schema([pa.field(f.name, f.type) for f in schema])
    )
    found = score_candidates(rows, np.zeros((1, 3, 63, 63), np.float32), Models())
    assert found.schema.equals(rows.schema)
    assert found["rb"].to_pylist() == found["drb"].to_pylist() == [None]
    assert found["drbversion"].to_pylist() == [""]
    none = score_candidates(rows.slice(0, 0), np.zeros((0, 3, 63, 63), np.float32), Models())
    assert none.num_rows == 0


def test_a_missing_model_names_those_that_are_there(tmp_path):
    constant_model(tmp_path, "toy_a", "features")
    with pytest.raises(ConfigurationError, match=r"toy_b.*models there: toy_a"):
        load_models(tmp_path, config_of(tmp_path, "toy_b"))


def test_a_changed_model_is_refused(tmp_path):
    place = constant_model(tmp_path, "toy_c", "features", 0.5)
    card = (place / CARD).read_text()
    constant_model(tmp_path, "toy_c", "features", 0.6)
    (place / CARD).write_text(card)
    with pytest.raises(ConfigurationError, match="other bytes"):
        load_models(tmp_path, config_of(tmp_path, "toy_c"))


def test_a_version_has_one_model_only(tmp_path):
    for name, value in (("one", 0.1), ("two", 0.2)):
        constant_model(tmp_path / name, "toy_twice", "features", value)
    load_models(tmp_path / "one", config_of(tmp_path, "toy_twice"))
    with pytest.raises(ConfigurationError, match="loaded before with other bytes"):
        load_models(tmp_path / "two", config_of(tmp_path, "toy_twice"))


def test_a_model_of_other_inputs_is_refused(tmp_path):
    constant_model(tmp_path, "toy_small", "images", shape=[3, 31, 31])
    with pytest.raises(ConfigurationError, match=r"3, 31, 31.*not \(n, 3, 63, 63\)"):
        load_models(tmp_path, config_of(tmp_path, drb="toy_small"))


def test_a_model_of_other_features_is_refused(tmp_path):
    place = constant_model(tmp_path, "toy_other", "features")
    card = json.loads((place / CARD).read_text())
    (place / CARD).write_text(json.dumps(card | {"features": list(FEATURES[::-1])}))
    with pytest.raises(ConfigurationError, match="wants features"):
        load_models(tmp_path, config_of(tmp_path, "toy_other"))


def test_a_model_that_gives_no_probabilities_is_refused(tmp_path):
    constant_model(tmp_path, "toy_big", "features", 7.0)
    with pytest.raises(ConfigurationError, match="not two probabilities"):
        load_models(tmp_path, config_of(tmp_path, "toy_big"))


def test_a_card_or_model_that_is_none_is_refused(tmp_path):
    place = constant_model(tmp_path, "toy_torn", "features")
    (place / MODEL).write_bytes(b"no model")
    card = json.loads((place / CARD).read_text())
    (place / CARD).write_text(json.dumps(card | {"sha256": hashlib.sha256(b"no model").hexdigest()}))
    with pytest.raises(ConfigurationError, match="cannot read it"):
        load_models(tmp_path, config_of(tmp_path, "toy_torn"))
    (place / CARD).write_text("{}")
    with pytest.raises(ConfigurationError, match="no model card"):
        load_models(tmp_path, config_of(tmp_path, "toy_torn"))


def test_a_model_of_the_wrong_kind_is_refused(tmp_path):
    constant_model(tmp_path, "toy_kind", "features")
    with pytest.raises(ConfigurationError, match="images model toy_kind is wanted"):
        load_models(tmp_path, config_of(tmp_path, drb="toy_kind"))


def plain_cases():
    """A new star and a hot pixel of S/N 30 with the measures that such things have."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:63, :63] - 31
    star = np.exp(-(rows**2 + columns**2) / (2 * 1.0**2))
    spike = ((rows == 0) & (columns == 0)).astype(float)
    stamps = rng.normal(0, 1.0, (2, 3, 63, 63))
    for stamp, image in zip(stamps, (15.0 * star, 60.0 * spike), strict=True):
        stamp[[0, 2]] += image
    columns_of_both = {
        "scorr": [30.0, 20.0], "snr": [30.0, 12.0], "chipsf": [1.0, 6.0], "magdiff": [0.0, -0.5],
        "magap": [18.5, 18.5], "magapbig": [18.5, 18.5], "magpsf": [18.5, 19.0], "seeratio": [0.97, 2.0],
        "aimagerat": [0.31, 0.4], "bimagerat": [0.3, 0.2], "elong": [1.05, 2.0], "nneg": [0, 9],
        "nbad": [0, 0],
        "sumrat": [1.0, 0.6], "dipole": [0.0, 0.1], "sky": [0.0, 0.0], "flux": [500.0, 300.0],
        "distnr": [20.0, 20.0], "magnr": [19.0, 19.0], "sharpnr": [0.0, 0.0], "mindtoedge": [200.0, 200.0],
    }  # fmt: skip
    return pa.table(columns_of_both), stamps.astype(np.float32)


def test_the_models_in_use_know_a_star_from_a_hot_pixel(include):
    models = load_models(include)
    assert models.features is not None
    found = score_candidates(*plain_cases(), models)
    for name, model in (("rb", models.features), ("drb", models.images)):
        if model:
            star, pixel = found[name].to_pylist()
            assert star > 0.75
            assert pixel < 0.25


def test_the_models_in_use_are_these_bytes_and_small(include):
    config = load_realbogus_config(include)
    assert config.features is not None
    for one in (config.features, config.images):
        if one:
            data = (include / config.folder / one.version / MODEL).read_bytes()
            assert one.sha256 == hashlib.sha256(data).hexdigest()
            assert len(data) < 2_000_000


def test_the_models_in_use_are_there_and_score(include):
    config = load_realbogus_config(include)
    models = load_models(include, config)
    found = score_candidates(candidates_of(IS_REAL), stamps_of(IS_REAL), models)
    for model, name in ((models.features, "rb"), (models.images, "drb")):
        assert (found[name].null_count == 0) == (model is not None)
        if model:
            assert 0 < model.card.threshold < 1
            assert model.card.metrics["test"]["n_real"] > 0


def test_every_model_that_is_there_runs_in_use_or_not(include):
    folder = include / load_realbogus_config(include).folder
    cards = [json.loads((one / "card.json").read_text()) for one in sorted(folder.iterdir()) if one.is_dir()]
    assert {card["kind"] for card in cards} == {"features", "images"}
    for card in cards:
        models = load_models(include, RealBogusConfig(**{card["kind"]: ModelConfig(version=card["version"])}))
        found = score_candidates(*plain_cases(), models)
        star, pixel = found["rb" if card["kind"] == "features" else "drb"].to_pylist()
        assert star > pixel


def test_running_models_reports_to_nobody(tmp_path):
    """ONNX Runtime sends telemetry by default, and keeps a device id in the home folder."""
    script = "from zsds_tasks.science.realbogus import load_models"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=REPOSITORY, timeout=90)
    assert not [path for path in tmp_path.rglob("*") if "onnx" in path.name.lower()]
