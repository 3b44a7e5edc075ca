"""From labelled sets to two models with their cards."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.alerts.select import select_alerts
from zsds_tasks.science.realbogus import (
    FEATURES,
    Model,
    ModelCard,
    ModelConfig,
    feature_matrix,
    load_model,
    normalise_triplets,
)
from zsds_tasks.training.cards import write_model
from zsds_tasks.training.configuration import TrainingConfig
from zsds_tasks.training.evaluate import balanced, by_strength, evaluate
from zsds_tasks.training.network import parameters, predict, train_network
from zsds_tasks.training.network_onnx import network_to_onnx
from zsds_tasks.training.sets import LabelledSet
from zsds_tasks.training.trees import train_trees, trees_to_onnx

Tell = Callable[[str], None]
TOLERANCE = 1e-5
PROBES = 512
LONELY_PX = 5.0
"""Candidates without a source of the reference so near have only their shape to tell them from noise."""
TESTED = ("test", "natural", "left_out")


@dataclass(frozen=True)
class Trained:
    """A model that was proved to give the same in ONNX Runtime as where it was trained.

    Parameters
    ----------
    folder : Path
    card : ModelCard
    difference : float
        Largest between both.
    """

    folder: Path
    card: ModelCard
    difference: float


@dataclass(frozen=True)
class Names:
    """What goes into cards unchanged."""

    version: str
    date: str
    command: str


def split_sets(sets: Sequence[LabelledSet], config: TrainingConfig) -> dict[str, LabelledSet]:
    """Return the rows of each split by name; tests and validation hold what alerts are made of only.

    `left_out` are those of the tests whose kind is not counted.

    Raises
    ------
    UnusableInputError
        If a split has no real or no bogus candidate.
    """
    every = LabelledSet.concatenate(sets)
    split, natural = every.column("split"), every.column("is_natural").astype(bool)
    counted = (every.column("scorr") >= config.least_scorr) & (every.column("pass_number") == 0)
    kept = ~np.isin(every.column("kind").astype(str), config.left_out)
    rows = {
        "train": (split == "train") & kept,
        "validation": (split == "validation") & counted & kept,
        "test": (split == "test") & counted & ~natural & kept,
        "natural": natural & counted,
        "left_out": (split == "test") & counted & ~natural & ~kept,
    }
    parts = {name: every.take(chosen) for name, chosen in rows.items()}
    wild = [part for part in sets if part.table.num_rows and part.column("is_natural")[0]]
    area = sum(part.megapixels for part in wild)
    parts["natural"] = replace(parts["natural"], images=sum(p.images for p in wild), megapixels=area)
    for name in ("train", "validation", "test"):
        is_real = parts[name].column("is_real").astype(bool)
        if not is_real.any() or is_real.all():
            raise UnusableInputError(
                f"{int(is_real.sum())} real of {len(is_real)} candidates",
                subject=f"labelled sets, {name}",
                remedy="add skies to include/config/training.yaml",
            )
    return parts


def train_features(
    parts: dict[str, LabelledSet], config: TrainingConfig, folder: Path, names: Names, tell: Tell = print
) -> Trained:
    """Train, export, prove, evaluate and write the feature model."""
    of = {name: (feature_matrix(part.table, part.stamps), *_truth(part)) for name, part in parts.items()}
    booster = train_trees(of["train"], of["validation"], config.trees)
    tell(f"{booster.best_iteration or booster.num_trees()} trees")
    data = trees_to_onnx(booster)
    gains = booster.feature_importance("gain")
    course = {
        "trees": int(booster.best_iteration or booster.num_trees()),
        "gain": {n: round(float(g / gains.sum()), 4) for n, g in zip(FEATURES, gains, strict=True)},
        "configuration": config.trees.model_dump(mode="json"),
    }
    card = _card("features", names, parts, course).model_copy(update={"features": FEATURES})
    inputs = {name: of[name][0] for name in TESTED}
    return _finished(data, card, booster.predict, inputs, parts, config, folder)


def train_images(
    parts: dict[str, LabelledSet],
    config: TrainingConfig,
    folder: Path,
    names: Names,
    tell: Tell = print,
    seconds: float = np.inf,
) -> Trained:
    """Train, export, prove, evaluate and write the image model; `seconds` of this process at most."""
    train = parts["train"]
    is_real, share = _truth(train)
    valid = parts["validation"]
    validation = (normalise_triplets(valid.stamps), *_truth(valid))
    weights, course = train_network(train.stamps, is_real, share, validation, config.network, tell, seconds)
    notes = {
        "parameters": parameters(weights),
        "course": course,
        "configuration": config.network.model_dump(mode="json"),
    }
    inputs = {name: normalise_triplets(parts[name].stamps) for name in TESTED}
    card = _card("images", names, parts, notes)
    return _finished(
        network_to_onnx(weights), card, lambda x: predict(weights, x), inputs, parts, config, folder
    )


def _finished(
    data: bytes,
    card: ModelCard,
    trainer: Callable[[Any], Any],
    inputs: dict[str, NDArray[np.float32]],
    parts: dict[str, LabelledSet],
    config: TrainingConfig,
    folder: Path,
) -> Trained:
    """Prove that ONNX Runtime agrees, evaluate, write."""
    model = _loaded(data, card)
    probes = inputs["test"][:PROBES]
    difference = float(np.max(np.abs(model.probabilities(probes) - np.asarray(trainer(probes)).reshape(-1))))
    if difference > TOLERANCE:
        raise UnusableInputError(
            f"ONNX Runtime gives {difference:.1e} others than where it was trained", subject=card.version
        )
    scores = {name: model.probabilities(rows, 256) for name, rows in inputs.items()}
    metrics = {"onnx_difference": difference} | _measured(scores, parts, config)
    card = card.model_copy(update={"metrics": metrics, "threshold": metrics["test"]["threshold"]})
    place = write_model(folder, data, card)
    return Trained(place, card, difference)


def _measured(
    scores: dict[str, NDArray[np.float32]], parts: dict[str, LabelledSet], config: TrainingConfig
) -> dict[str, Any]:
    """Return quality on seeds not trained on: of all candidates, of those that trigger, on a natural sky."""
    test, (is_real, _) = parts["test"], _truth(parts["test"])
    kind, scorr, rate = test.column("kind").astype(str), test.column("scorr"), config.false_positive_rate
    found = evaluate(scores["test"], is_real, kind, rate, scorr)
    passing = scores["test"] >= found["threshold"]
    lonely = ~(np.asarray(test.column("distnr"), np.float64) < LONELY_PX)
    metrics: dict[str, Any] = {
        "test": found,
        "test_lonely": by_strength(passing[lonely], is_real[lonely], scorr[lonely]),
    }
    triggers = select_alerts(test.table, config.trigger).triggers
    if (triggers & is_real).any() and (triggers & ~is_real).any():
        metrics["test_triggers"] = evaluate(
            scores["test"][triggers], is_real[triggers], kind[triggers], rate, scorr[triggers]
        )
    if parts["natural"].table.num_rows:
        metrics["natural"] = _on_natural(scores["natural"] >= found["threshold"], parts["natural"], config)
    kinds = parts["left_out"].column("kind").astype(str)
    metrics["left_out"] = {
        str(name): {"n": int(here.sum()), "share": round(float(passes[here].mean()), 4)}
        for name, here, passes in (
            (name, kinds == name, scores["left_out"] >= found["threshold"]) for name in np.unique(kinds)
        )
    }
    return metrics


def _on_natural(passes: NDArray[np.bool_], natural: LabelledSet, config: TrainingConfig) -> dict[str, Any]:
    """Count candidates of skies that are as any: how many pass, how many would trigger an alert.

    Of all kinds, those that are else left out as well; `kinds` tells them apart.
    """
    triggers = select_alerts(natural.table, config.trigger).triggers
    found: dict[str, Any] = {"megapixels": round(natural.megapixels, 2), "images": natural.images}
    is_real = natural.column("is_real").astype(bool)
    kind = natural.column("kind").astype(str)

    def counted(rows: NDArray[np.bool_]) -> dict[str, int]:
        chosen = {"passing": passes, "triggering": triggers, "triggering_and_passing": triggers & passes}
        return {"n": int(rows.sum())} | {name: int((rows & these).sum()) for name, these in chosen.items()}

    found |= {"bogus": counted(~is_real), "real": counted(is_real)}
    return found | {"kinds": {str(name): counted(kind == name) for name in np.unique(kind)}}


def _loaded(data: bytes, card: ModelCard) -> Model:
    """Load the bytes as the pipeline would, under a name that is not yet taken."""
    with tempfile.TemporaryDirectory() as folder:
        trial = card.model_copy(update={"version": f"trial_{hashlib.sha256(data).hexdigest()[:12]}"})
        write_model(Path(folder), data, trial)
        return load_model(Path(folder), ModelConfig(version=trial.version, sha256=None), card.kind)


def _truth(part: LabelledSet) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    is_real = part.column("is_real").astype(bool)
    if not len(is_real):
        return is_real, np.zeros(0)
    return is_real, balanced(part.column("kind").astype(str), is_real, part.column("scorr"))


def _card(kind: Any, names: Names, parts: dict[str, LabelledSet], notes: dict[str, Any]) -> ModelCard:
    data = {}
    for name, part in parts.items():
        kinds, counts = np.unique(part.column("kind").astype(str), return_counts=True)
        data[name] = {
            "skies": sorted(set(part.column("sky_name").astype(str).tolist())),
            "nights": sorted(set(part.column("night").astype(str).tolist())),
            "kinds": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        }
    sentence = {
        "features": "Gradient-boosted trees over scale-free measures of candidates and their stamps.",
        "images": "A convolutional network over science, reference and difference stamps.",
    }[kind]
    return ModelCard(
        version=names.version, kind=kind, sha256="0" * 64, date=names.date, command=names.command,
        description=sentence, threshold=None, data=data, training=notes,
    )  # fmt: skip
