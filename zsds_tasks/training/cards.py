"""A trained model in its folder: model.onnx, card.json; a version never changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.science.realbogus import ModelCard
from zsds_tasks.science.realbogus.models import CARD, MODEL


def write_model(folder: Path, data: bytes, card: ModelCard) -> Path:
    """Write a model; the same bytes again are no change.

    Parameters
    ----------
    folder : Path
        Of all models.
    data : bytes
        Of model.onnx.
    card : ModelCard
        Its `sha256` is set here.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    ConfigurationError
        If the version exists with other bytes.
    """
    place = folder / card.version
    digest = hashlib.sha256(data).hexdigest()
    model = place / MODEL
    if model.exists() and hashlib.sha256(model.read_bytes()).hexdigest() != digest:
        raise ConfigurationError(
            "this version exists with other bytes",
            subject=str(model),
            remedy="a version never changes: give the new model one of its own",
        )
    place.mkdir(parents=True, exist_ok=True)
    model.write_bytes(data)
    content = card.model_copy(update={"sha256": digest}).model_dump(mode="json")
    (place / CARD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return place
