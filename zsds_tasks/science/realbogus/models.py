"""Models in ONNX: a folder with model.onnx and card.json, run by ONNX Runtime in one thread."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.science.realbogus.config import ModelConfig, RealBogusConfig, Version, load_realbogus_config
from zsds_tasks.science.realbogus.features import FEATURES
from zsds_tasks.science.realbogus.triplets import N_CHANNELS, SIZE

MODEL, CARD = "model.onnx", "card.json"
SHAPES: dict[str, tuple[int, ...]] = {"features": (len(FEATURES),), "images": (N_CHANNELS, SIZE, SIZE)}
ERRORS_ONLY = 3
_seen: dict[str, str] = {}


class ModelCard(BaseModel):
    """What a model is, from what, how good: card.json beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version
    kind: Literal["features", "images"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of model.onnx")
    features: tuple[str, ...] = Field((), description="inputs of a feature model, in order")
    date: str = Field("", description="of the training, as given")
    command: str = ""
    description: str = ""
    threshold: float | None = Field(None, ge=0, le=1, description="at 1 % false positives")
    data: dict[str, Any] = Field(default_factory=dict, description="seeds, nights, counts by kind")
    training: dict[str, Any] = Field(default_factory=dict, description="configuration and course")
    metrics: dict[str, Any] = Field(default_factory=dict, description="on seeds not trained on")


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Parameters
    ----------
    card : ModelCard
    session : onnxruntime.InferenceSession
    """

    card: ModelCard
    session: Any = field(repr=False, compare=False)

    def probabilities(self, inputs: NDArray[np.float32], batch: int = 1024) -> NDArray[np.float32]:
        """Return how likely each row is real, (n) float32 from 0 to 1.

        Parameters
        ----------
        inputs : numpy.ndarray (n, ...), float32
        batch : int
            Rows that go through at once: bounds memory.
        """
        name = self.session.get_inputs()[0].name
        parts = [
            self.session.run(None, {name: np.ascontiguousarray(inputs[k : k + batch], np.float32)})[0]
            for k in range(0, len(inputs), batch)
        ]
        parts.append(np.zeros(0, np.float32))
        found = np.concatenate([np.asarray(part, np.float32).reshape(-1) for part in parts])
        return np.clip(found, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Models:
    """Both models; None where there is none."""

    features: Model | None = None
    images: Model | None = None
    config: RealBogusConfig = field(default_factory=RealBogusConfig)

    @property
    def versions(self) -> tuple[str, ...]:
        """Return version and digest of each model, for the processing version of what they score."""
        cards = [model.card for model in (self.features, self.images) if model]
        return tuple(f"{card.version} {card.sha256}" for card in cards)


def load_models(include: Path, config: RealBogusConfig | None = None) -> Models:
    """Load the models that a configuration names; once per process.

    Parameters
    ----------
    include : Path
        Folder of declarations.
    config : RealBogusConfig, optional
        By default that of ``<include>/config/realbogus.yaml``.

    Raises
    ------
    ConfigurationError
        If a model is missing, was changed, or takes or gives something else.
    """
    return _loaded(include, config or load_realbogus_config(include))


@lru_cache(maxsize=4)
def _loaded(include: Path, config: RealBogusConfig) -> Models:
    folder = include / config.folder
    return Models(
        features=load_model(folder, config.features, "features") if config.features else None,
        images=load_model(folder, config.images, "images") if config.images else None,
        config=config,
    )


def load_model(folder: Path, wanted: ModelConfig, kind: str) -> Model:
    """Load one model and prove that it is what its card and its configuration say.

    Parameters
    ----------
    folder : Path
        Of all models.
    wanted : ModelConfig
    kind : {"features", "images"}

    Raises
    ------
    ConfigurationError
    """
    place = folder / wanted.version
    card = read_card(place)
    if (card.version, card.kind) != (wanted.version, kind):
        raise ConfigurationError(
            f"the card is of {card.kind} model {card.version}, {kind} model {wanted.version} is wanted",
            subject=str(place / CARD),
            remedy="name another model in include/config/realbogus.yaml",
        )
    data = _bytes(place / MODEL)
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.sha256 or wanted.sha256 not in {None, digest}:
        raise ConfigurationError(
            "other bytes than the card or the configuration names",
            subject=str(place / MODEL),
            remedy="a version never changes: restore the file, or give the new model a version of its own",
            sha256=digest[:12],
        )
    _refuse_other_bytes(card.version, digest, place)
    if kind == "features" and card.features != FEATURES:
        raise ConfigurationError(
            f"wants features {', '.join(card.features)}; there are {', '.join(FEATURES)}",
            subject=str(place / CARD),
            remedy="train it on the present features",
        )
    return Model(card, _session(data, place, SHAPES[kind]))


def read_card(place: Path) -> ModelCard:
    """Read the card of a model; a wrong one raises `ConfigurationError`."""
    path = place / CARD
    try:
        return ModelCard.model_validate(json.loads(_bytes(path)))
    except (ValidationError, ValueError) as error:
        raise ConfigurationError(
            f"no model card: {error}", subject=str(path), remedy="write it as docs/real-bogus.md says"
        ) from error


def _refuse_other_bytes(version: str, digest: str, place: Path) -> None:
    """Refuse a second model of one version: scores of both would carry the same name."""
    if _seen.setdefault(version, digest) != digest:
        raise ConfigurationError(
            f"version {version} was loaded before with other bytes",
            subject=str(place / MODEL),
            remedy="give the new model a version of its own",
        )


def _session(data: bytes, place: Path, shape: tuple[int, ...]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    subject = str(place / MODEL)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise ConfigurationError(
            f"ONNX Runtime cannot read it: {error}", subject=subject, remedy="export the model again"
        ) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = tuple(inputs[0].shape[1:])
    if len(inputs) != 1 or found != shape or inputs[0].type != "tensor(float)":
        raise ConfigurationError(
            f"takes {len(inputs)} input of {found} {inputs[0].type}, not (n, {', '.join(map(str, shape))})",
            subject=subject,
            remedy="a model of other inputs needs code of its own",
        )
    probe = np.asarray(session.run([outputs[0].name], {inputs[0].name: np.zeros((2, *shape), np.float32)})[0])
    if probe.size != 2 or not np.all((probe >= 0) & (probe <= 1)):
        raise ConfigurationError(
            f"gives {probe.shape} for two rows, not two probabilities", subject=subject,
            remedy="let its first output be the probability of being real",
        )  # fmt: skip
    return session


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        there = sorted(p.name for p in path.parent.parent.glob("*") if (p / CARD).exists())
        raise ConfigurationError(
            f"cannot be read: {error.strerror}",
            subject=str(path),
            remedy=f"models there: {', '.join(there) or 'none'}; null in include/config/realbogus.yaml "
            "goes without one",
        ) from error
