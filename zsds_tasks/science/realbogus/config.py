"""Which models score candidates: ``include/config/realbogus.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration

STAGE = "realbogus"
Version = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]


class ModelConfig(Declaration):
    """One model to score with."""

    version: Version = Field(..., description="folder of the model; goes into every packet")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="of model.onnx: bytes that must be these; by default those of its card"
    )


class RealBogusConfig(Declaration):
    """Both scores; a model that is null gives null scores, and packets still flow."""

    features: ModelConfig | None = Field(None, description="of measures of candidates: rb")
    images: ModelConfig | None = Field(None, description="of stamps: drb")
    folder: str = Field("models/realbogus", description="of all models, under include/")
    least_scorr: Annotated[float, Field(ge=0)] = Field(
        5.0, description="candidates below are no alerts and get no scores"
    )
    batch: Annotated[int, Field(ge=1)] = Field(64, description="triplets that go through the network at once")


def load_realbogus_config(include: Path) -> RealBogusConfig:
    """Read ``<include>/config/realbogus.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", RealBogusConfig)
