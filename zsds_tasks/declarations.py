"""Read a YAML declaration into a frozen model, or refuse it naming the file, the key and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from zsds_tasks.errors import DeclarationError


class Declaration(BaseModel):
    """Base of everything read from include/: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# libyaml's reader is ten times as fast as Python's, and every task of a night reads many declarations.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says, in plain values.

    Raises
    ------
    yaml.YAMLError
        If it is none.
    """
    return yaml.load(text, Loader=_SafeLoader)  # noqa: S506 - a safe loader, which ruff cannot see


AnyDeclaration = TypeVar("AnyDeclaration", bound=BaseModel)


def read_declaration(path: Path, model: type[AnyDeclaration]) -> AnyDeclaration:
    """Read one YAML file into `model`.

    Parameters
    ----------
    path : Path
        The declaration.
    model : type[BaseModel]
        What it must look like.

    Returns
    -------
    BaseModel
        A frozen instance.

    Raises
    ------
    DeclarationError
        If the file is missing, is not YAML, or breaks the model; the message names every wrong key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
        raise DeclarationError(
            "no such declaration", subject=str(path), remedy=f"known here: {known}"
        ) from error
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise DeclarationError(f"not YAML: {error}", subject=str(path), remedy="mend the syntax") from error
    return check_declaration(content, model, subject=str(path))


def check_declaration(content: object, model: type[AnyDeclaration], *, subject: str) -> AnyDeclaration:
    """Turn parsed YAML into `model`; see `read_declaration`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DeclarationError(
            "; ".join(_sentence(e) for e in error.errors()), subject=subject, remedy="mend the named keys"
        ) from error


def _sentence(error: object) -> str:
    assert isinstance(error, dict)  # noqa: S101 - pydantic's ErrorDetails is a TypedDict; narrows for mypy
    key = ".".join(str(part) for part in error["loc"]) or "(whole file)"
    value = "" if error["type"] == "missing" else f", got {str(error['input'])[:60]!r}"
    return f"key {key}: {error['msg']}{value}"
