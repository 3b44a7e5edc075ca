"""Everything that decides what a reference image is made of and looks like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import DeclarationError
from zsds_tasks.science.reference.config import (
    BuildConfig,
    ReferenceQualityConfig,
    ReplacementConfig,
    SelectionConfig,
)

STAGE = "references"


class ReferencesConfig(Declaration):
    """Configuration of references; ``include/config/references.yaml`` overrides the defaults."""

    selection: SelectionConfig = SelectionConfig()
    replacement: ReplacementConfig = ReplacementConfig()
    build: BuildConfig = BuildConfig()
    quality: ReferenceQualityConfig = ReferenceQualityConfig()
    cameras: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="overrides by name of a camera, in the shape of this configuration"
    )

    def for_camera(self, name: str) -> ReferencesConfig:
        """Return the configuration with a camera's own values in place.

        Raises
        ------
        pydantic.ValidationError
            If they do not fit.
        """
        values = self.model_dump(exclude={"cameras"}, mode="json")
        return type(self).model_validate(_merged(values, self.cameras.get(name, {})))


def load_references_config(include: Path, camera: str) -> ReferencesConfig:
    """Read ``<include>/config/references.yaml`` as it holds for a camera."""
    path = include / "config" / f"{STAGE}.yaml"
    config = read_declaration(path, ReferencesConfig)
    try:
        return config.for_camera(camera)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DeclarationError(wrong, subject=f"{path}, cameras.{camera}", remedy="mend it") from error


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some of them changed; what is no mapping is replaced whole."""
    merged = dict(values)
    for name, change in changes.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            merged[name] = _merged(old, change)
        else:
            merged[name] = change
    return merged
