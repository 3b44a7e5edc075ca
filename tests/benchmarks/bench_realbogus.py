"""Real-bogus: core-seconds to score, beside the trainers' own predictors; scores of real alerts beside ZTF's.

    python tests/benchmarks/bench_realbogus.py [version of rb] [version of drb]
    ZSDS_DATA=<folder of real data> python ...           also the real alerts

Real alerts are scored by these models, by default those of include/config/realbogus.yaml. Speed is that of
untrained ones of the same sizes, so that the trainers' own predictors can be run beside them.
"""
# ruff: noqa: T201 - a benchmark prints its table

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import sys  # noqa: E402 - threads are set first
import tempfile  # noqa: E402 - as above
import time  # noqa: E402 - as above
from pathlib import Path  # noqa: E402 - as above

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402 - as above
from realbogus_builders import candidates_of, real_alerts, stamps_of  # noqa: E402 - as above
from scipy.stats import spearmanr  # noqa: E402 - as above

from zsds_tasks.science.realbogus import (  # noqa: E402 - as above
    FEATURES,
    ModelCard,
    ModelConfig,
    Models,
    RealBogusConfig,
    feature_matrix,
    load_model,
    load_models,
    load_realbogus_config,
    normalise_triplets,
    score_candidates,
)
from zsds_tasks.settings import load_settings  # noqa: E402 - as above
from zsds_tasks.training import network, trees  # noqa: E402 - as above
from zsds_tasks.training.cards import write_model  # noqa: E402 - as above
from zsds_tasks.training.configuration import NetworkConfig, TreesConfig  # noqa: E402 - as above
from zsds_tasks.training.evaluate import auc  # noqa: E402 - as above
from zsds_tasks.training.network_onnx import network_to_onnx  # noqa: E402 - as above

N = 300


def core_seconds(function, repeats=5):
    """The median of some runs after a first one."""
    function()
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        taken.append(time.process_time() - began)
    return float(np.median(taken))


def untrained():
    """Models of the shipped sizes without knowledge, with what they were made from."""
    rng = np.random.default_rng(1)
    rows, truth = rng.normal(size=(4000, len(FEATURES))).astype(np.float32), rng.random(4000) < 0.5
    data = (rows, truth, np.ones(4000))
    booster = trees.train_trees(data, data, TreesConfig(patience=10_000))
    weights = network.initial(NetworkConfig())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for version, kind, content in (
            ("untrained_rb", "features", trees.trees_to_onnx(booster)),
            ("untrained_drb", "images", network_to_onnx(weights)),
        ):
            features = FEATURES if kind == "features" else ()
            card = ModelCard(version=version, kind=kind, sha256="0" * 64, features=features)
            write_model(folder, content, card)
        models = Models(
            features=load_model(folder, ModelConfig(version="untrained_rb"), "features"),
            images=load_model(folder, ModelConfig(version="untrained_drb"), "images"),
        )
    return models, booster, weights


def speed():
    """Print what scoring costs."""
    models, booster, weights = untrained()
    is_real = np.arange(N) % 2 == 0
    table, stamps = candidates_of(is_real), stamps_of(is_real)
    matrix, triplets = feature_matrix(table, stamps), normalise_triplets(stamps)
    rows = {
        "score_candidates, whole": lambda: score_candidates(table, stamps, models),
        "  features": lambda: feature_matrix(table, stamps),
        "  rb, ONNX Runtime": lambda: models.features.probabilities(matrix),
        "  triplets": lambda: normalise_triplets(stamps),
        "  drb, ONNX Runtime": lambda: models.images.probabilities(triplets, 64),
        "peer: rb, LightGBM's own": lambda: booster.predict(matrix, num_threads=1),
        "peer: drb, JAX's own": lambda: network.predict(weights, triplets, 64),
    }
    print(f"core-seconds for {N} candidates ({booster.num_trees()} trees, "
          f"{network.parameters(weights)} parameters)")  # fmt: skip
    for name, function in rows.items():
        taken = core_seconds(function)
        print(f"{name:28} {taken:.4f}   {1e3 * taken / N:.3f} ms each")


def on_real_alerts(models, folder):
    """Print our scores of real alerts beside ZTF's, by their weak labels."""
    table, stamps, labels = real_alerts(folder)
    scored = score_candidates(table, stamps, models)
    good = (labels.known_asteroid | labels.stellar_repeat).to_numpy() & ~labels.low_score.to_numpy()
    low = labels.low_score.to_numpy()
    print(f"\nreal alerts with stamps: {len(labels)}; {good.sum()} good, {low.sum()} of low score")
    theirs = {"theirs: rb": labels.rb.to_numpy(), "theirs: drb": labels.drb.to_numpy()}
    ours = {
        f"ours: {name}": np.asarray(scored[name].to_numpy(zero_copy_only=False), float)
        for name, model in (("rb", models.features), ("drb", models.images))
        if model
    }
    limit = {
        f"ours: {name}": model.card.threshold
        for name, model in (("rb", models.features), ("drb", models.images))
        if model
    }
    for name, values in (ours | theirs).items():
        known = np.isfinite(values)
        both = known & np.isfinite(labels.drb.to_numpy())
        least = limit.get(name, 0.65)
        shares = {
            kind: " / ".join(f"{(values[known & chosen] >= limit).mean():.1%}" for limit in (0.5, least))
            for kind, chosen in (
                ("asteroid", labels.known_asteroid.to_numpy()),
                ("stellar", labels.stellar_repeat.to_numpy()),
                ("their drb over 0.9", labels.drb.to_numpy() > 0.9),
                ("low score", low),
            )
        }
        used = known & (good | low)
        print(
            f"{name:12} n {known.sum()}, AUC good against low {auc(values[used], good[used]):.3f}, "
            f"rank correlation with their drb "
            f"{spearmanr(values[both], labels.drb.to_numpy()[both])[0]:.2f}, rb "
            f"{spearmanr(values[known], labels.rb.to_numpy()[known], nan_policy='omit')[0]:.2f}, "
            f"over 0.5 / {least:.2f}: {shares}"
        )


def chosen_models():
    """The models named on the command line, or those that are configured."""
    include = load_settings().include
    if len(sys.argv) < 2:
        return load_models(include, load_realbogus_config(include))
    names = [ModelConfig(version=word) if word else None for word in [*sys.argv[1:], ""][:2]]
    return load_models(include, RealBogusConfig(features=names[0], images=names[1]))


if __name__ == "__main__":
    speed()
    if data := os.environ.get("ZSDS_DATA"):
        on_real_alerts(chosen_models(), Path(data))
