"""Training end to end on candidates made by hand; exports, augmentation, measures of quality."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from realbogus_builders import candidates_of, labelled, stamps_of

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.science.realbogus import ModelCard, feature_matrix, normalise_triplets
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.training import network, run
from zsds_tasks.training.augment import augmented
from zsds_tasks.training.cards import write_model
from zsds_tasks.training.configuration import (
    NetworkConfig,
    SetsConfig,
    Sky,
    TrainingConfig,
    TreesConfig,
    load_training_config,
)
from zsds_tasks.training.evaluate import auc, balanced, evaluate, threshold_at
from zsds_tasks.training.observatory import merged, write_include
from zsds_tasks.training.sets import placed, read_set, write_set

SMALL = TrainingConfig(
    trees=TreesConfig(trees=40, least_rows=5, learning_rate=0.2, patience=10),
    network=NetworkConfig(
        near_filters=(6, 8, 8, 8),
        wide_filters=(4, 6),
        hidden=16,
        dropout=0.0,
        batch=32,
        epochs=6,
        rows_per_epoch=320,
        learning_rate=6e-3,
        weight_decay=1e-3,
        averaging=0.9,
        noise=0.1,
        shift_px=1,
        blur_share=0.0,
    ),
    false_positive_rate=0.05,
)
NAMES = run.Names("toy_t1", "2025-10-12", "zsds train")


@pytest.fixture(scope="module")
def parts():
    return run.split_sets(
        [labelled(240, "train", 1), labelled(90, "validation", 2), labelled(120, "test", 3)], SMALL
    )


def test_both_models_learn_and_agree_with_onnx_runtime(parts, tmp_path):
    trees = run.train_features(parts, SMALL, tmp_path, run.Names("toy_end_f", "", ""), print)
    images = run.train_images(parts, SMALL, tmp_path, run.Names("toy_end_d", "", ""), print)
    for made in (trees, images):
        assert made.difference < 1e-5
        assert made.card.metrics["test"]["auc"] > 0.97
        assert (made.folder / "card.json").exists()
        assert made.card.data["test"]["skies"] == ["test-3"]
    again = run.train_features(parts, SMALL, tmp_path, run.Names("toy_end_f", "", ""), print)
    assert again.card.metrics == trees.card.metrics  # and the same bytes, or it would have been refused


def test_trees_agree_where_values_are_unknown(parts):
    from zsds_tasks.training.trees import train_trees, trees_to_onnx

    of = {name: (feature_matrix(p.table, p.stamps), *run._truth(p)) for name, p in parts.items()}
    booster = train_trees(of["train"], of["validation"], SMALL.trees)
    card = ModelCard(version="toy", kind="features", sha256="0" * 64, features=run.FEATURES)
    model = run._loaded(trees_to_onnx(booster), card)
    rows = of["test"][0].copy()
    rows[np.random.default_rng(1).random(rows.shape) < 0.3] = np.nan
    assert np.abs(model.probabilities(rows) - booster.predict(rows)).max() < 1e-5


def test_a_split_without_bogus_is_refused():
    sets = [labelled(30, name, 1) for name in ("train", "validation", "test")]
    sets[2] = sets[2].take(sets[2].column("is_real").astype(bool))
    with pytest.raises(UnusableInputError, match="labelled sets, test"):
        run.split_sets(sets, SMALL)


def test_a_version_is_not_overwritten(tmp_path):
    card = ModelCard(version="toy", kind="features", sha256="0" * 64)
    write_model(tmp_path, b"one", card)
    write_model(tmp_path, b"one", card)
    with pytest.raises(ConfigurationError, match="exists with other bytes"):
        write_model(tmp_path, b"two", card)


def test_augmentation_keeps_the_middle_and_the_amount_of_light():
    stamps = stamps_of(np.array([True] * 20))
    config = NetworkConfig(shift_px=0, noise=0.0, blur_share=0.0, hole_share=0.0)
    found = augmented(stamps, config, np.random.default_rng(1))
    assert np.allclose(np.sort(found.reshape(20, 3, -1)), np.sort(stamps.reshape(20, 3, -1)))
    assert np.array_equal(found[:, :, 31, 31], stamps[:, :, 31, 31])
    assert not np.array_equal(found, stamps)
    all_of_it = NetworkConfig(shift_px=1, noise=0.5, blur_share=1.0, hole_share=1.0)
    cut = augmented(stamps, all_of_it, np.random.default_rng(1))
    assert np.isnan(cut).any()
    assert np.isfinite(cut[:, :, 29:34, 29:34]).all()
    assert normalise_triplets(cut)[:, 2, 29:34, 29:34].sum(axis=(1, 2)).min() > 0


def test_the_network_ends_in_one_number():
    config = NetworkConfig()
    weights = network.initial(config)
    assert network.parameters(weights) < 60_000
    found = network.predict(weights, normalise_triplets(stamps_of(np.array([True, False, True]))))
    assert found.shape == (3,)
    assert np.all((found > 0) & (found < 1))


def test_measures_of_quality():
    is_real = np.array([False] * 100 + [True] * 100)
    score = np.concatenate([np.linspace(0, 0.5, 100), np.linspace(0.4, 1.0, 100)]).astype(np.float32)
    slow = np.mean([(r > score[:100]).mean() + 0.5 * (r == score[:100]).mean() for r in score[100:]])
    assert auc(score, is_real) == pytest.approx(slow)
    threshold = threshold_at(score, is_real, 0.01)
    assert (score[:100] >= threshold).sum() == 1
    kind = np.array(["noise"] * 50 + ["ghost"] * 50 + ["transient"] * 50 + ["asteroid"] * 50)
    found = evaluate(score, is_real, kind, 0.01)
    assert set(found["recall"]) == {"transient", "asteroid"}
    assert found["recall"]["asteroid"]["share"] == 1.0
    assert found["false_positives"]["noise"]["share"] == 0.0
    assert found["false_positives"]["ghost"]["share"] == pytest.approx(0.02)
    assert sum(row[2] for row in found["calibration"]) == 200


def test_weights_make_strength_alone_worthless():
    rng = np.random.default_rng(1)
    is_real = rng.random(4000) < 0.7
    scorr = np.where(is_real, rng.uniform(5, 60, 4000), rng.uniform(5, 15, 4000))
    weight = balanced(np.where(is_real, "transient", "noise"), is_real, scorr)
    assert weight.sum() == pytest.approx(1)
    for low, high in ((5, 6), (6, 8), (8, 12), (12, 20)):
        here = (scorr >= low) & (scorr < high)
        assert weight[here & is_real].sum() == pytest.approx(weight[here & ~is_real].sum())


def test_sets_are_kept_as_they_are(tmp_path):
    made = labelled(20, "train", 1)
    write_set(made, tmp_path / "one")
    found = read_set(tmp_path / "one")
    assert found.table.equals(made.table)
    assert np.array_equal(found.stamps, made.stamps)


def test_stamps_cut_by_an_edge_keep_their_middle():
    image = np.arange(100 * 100, dtype=np.float32).reshape(100, 100)
    from zsds_tasks.science.alerts.cutouts import cut_stamp

    for x, y in ((12.2, 50.0), (50.0, 8.0), (95.0, 97.0), (50.0, 50.0)):
        whole = placed(cut_stamp(image, x, y, 63), x, y)
        assert whole.shape == (63, 63)
        assert whole[31, 31] == image[int(y - 0.5), int(x - 0.5)]


def test_the_declared_skies_share_no_seed():
    config = load_training_config(REPOSITORY / "include")
    assert {sky.split for sky in config.sets.skies} == {"train", "validation", "test"}
    with pytest.raises(ValueError, match="seed 1 is both"):
        SetsConfig(skies=(Sky(seed=1, field=1, split="train"), Sky(seed=1, field=2, split="test")))


def test_what_triggers_is_declared_once(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "training.yaml").write_text("{}\n")
    (tmp_path / "config" / "alerts.yaml").write_text("trigger: {most_elongated: 1.3, least_rb: 0.5}\n")
    found = load_training_config(tmp_path)
    assert found.trigger.most_elongated == 1.3
    assert found.trigger.least_rb == 0.0  # scores are what is judged
    (tmp_path / "config" / "training.yaml").write_text("trigger: {most_elongated: 1.2}\n")
    with pytest.raises(ConfigurationError, match=r"training.yaml: declares trigger.*alerts.yaml"):
        load_training_config(tmp_path)


def test_declarations_of_a_sky(tmp_path):
    from zsds_tasks.science.realbogus import load_realbogus_config
    from zsds_tasks.simulator.configuration import load_simulator

    config = load_training_config(REPOSITORY / "include")
    skies = config.sets.skies
    for sky in (skies[0], next(sky for sky in skies if sky.is_natural)):
        include = write_include(sky, config.sets, REPOSITORY / "include", tmp_path / sky.name)
        simulator = load_simulator(include)
        assert simulator.schedule.bias_frames == 0
        denser = simulator.transients.kinds["outburst"].per_square_degree_and_season > 100
        assert denser != sky.is_natural
        assert load_realbogus_config(include).images is None
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_candidates_of_the_builder_have_every_feature():
    is_real = np.array([True, False])
    assert np.isfinite(feature_matrix(candidates_of(is_real), stamps_of(is_real))).mean() > 0.9


def test_kinds_that_are_left_out_are_neither_trained_on_nor_counted():
    sets = [labelled(60, name, k) for k, name in enumerate(("train", "validation", "test"))]
    kinds = [np.where(np.arange(60) % 10 == 0, "passed", one.column("kind")) for one in sets]
    place = sets[0].table.schema.get_field_index("kind")
    sets = [
        replace(one, table=one.table.set_column(place, "kind", pa.array(kind)))
        for one, kind in zip(sets, kinds, strict=True)
    ]
    parts = run.split_sets(sets, SMALL)
    assert {name: part.table.num_rows for name, part in parts.items()} == {
        "train": 54, "validation": 54, "test": 54, "natural": 0, "left_out": 6,
    }  # fmt: skip
    assert set(parts["left_out"].column("kind")) == {"passed"}


def test_quality_is_told_by_strength_and_for_what_triggers(parts):
    is_real = parts["test"].column("is_real").astype(bool)
    scores = {"test": is_real.astype(np.float32), "natural": np.zeros(0), "left_out": np.zeros(0)}
    found = run._measured(scores, parts, SMALL)
    by_strength = found["test"]["by_scorr"]
    assert sum(row["real"] for row in by_strength) == is_real.sum()
    assert sum(row["bogus"] for row in by_strength) == (~is_real).sum()
    assert {row["real_passing"] for row in by_strength} <= {1.0, None}
    assert {row["bogus_passing"] for row in by_strength} <= {0.0, None}
    lonely = parts["test"].column("distnr") >= 5.0
    assert sum(row["real"] + row["bogus"] for row in found["test_lonely"]) == lonely.sum()
    assert found["test_triggers"]["n_real"] == is_real.sum()
    assert found["test_triggers"]["missed"] == 0.0
