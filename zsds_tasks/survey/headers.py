"""The raw header contract of a camera: which keyword carries which field, for which frames, in what range."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, read_declaration

Scope = Literal["exposure", "ccd", "quadrant"]


class HeaderKeyword(Declaration):
    """One keyword and what its value must look like."""

    field: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    keyword: Annotated[str, Field(pattern=r"^[A-Z0-9_-]{1,8}$")]
    type: Literal["str", "int", "float", "bool", "datetime"]
    scope: Scope
    required: bool = True
    when: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    pattern: str = ""
    unit: str = ""
    comment: str

    def needed_for(self, imgtypecode: str) -> bool:
        """Whether a frame of this type must carry the keyword."""
        return self.required and (not self.when or imgtypecode in self.when)


class HeaderContract(Declaration):
    """All keywords. Obtain one with `load_headers`."""

    name: str
    keywords: tuple[HeaderKeyword, ...]

    @model_validator(mode="after")
    def _check(self) -> HeaderContract:
        for what in ("field", "keyword"):
            values = [getattr(k, what) for k in self.keywords]
            repeated = sorted({v for v in values if values.count(v) > 1})
            if repeated:
                raise ValueError(f"keywords: {what} repeats: {repeated}")
        return self

    def of(self, *scopes: Scope) -> tuple[HeaderKeyword, ...]:
        """Return the keywords of these scopes, in file order."""
        return tuple(k for k in self.keywords if k.scope in scopes)


@lru_cache(maxsize=8)
def load_headers(name: str, include: Path) -> HeaderContract:
    """Read ``<include>/config/headers/<name>.yaml``; a wrong file raises `DeclarationError`."""
    return read_declaration(include / "config" / "headers" / f"{name}.yaml", HeaderContract)
