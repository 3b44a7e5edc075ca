"""Everything that can be wrong with a delivered file: one fixed list of codes, each with its remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class DefectCode(StrEnum):
    """Kinds of defect, gravest first: a file with several is filed under the first of them."""

    NOT_A_RAW_NAME = "not_a_raw_name"
    OVERSIZED = "oversized"
    NOT_FITS = "not_fits"
    TRUNCATED = "truncated"
    WRONG_STRUCTURE = "wrong_structure"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    WRONG_CAMERA = "wrong_camera"
    WRONG_SHAPE = "wrong_shape"
    UNDECODABLE = "undecodable"
    HEADER_CONTRACT = "header_contract"
    IDENTITY_MISMATCH = "identity_mismatch"
    IMPOSSIBLE_TIME = "impossible_time"
    IMPOSSIBLE_POINTING = "impossible_pointing"
    EXPOSURE_MISMATCH = "exposure_mismatch"
    CONFLICT = "conflict"
    INTERNAL_ERROR = "internal_error"


_SEND_AGAIN = "have the camera send the file again; this copy stays in quarantine"
_OTHER_PLACE = "keep files that are no raw frames of this camera out of the incoming folder"
REMEDIES: Mapping[DefectCode, str] = {
    DefectCode.NOT_A_RAW_NAME: f"{_OTHER_PLACE}, or deliver it under its raw name",
    DefectCode.OVERSIZED: _OTHER_PLACE,
    DefectCode.NOT_FITS: f"{_OTHER_PLACE}; if it is one, {_SEND_AGAIN}",
    DefectCode.TRUNCATED: _SEND_AGAIN,
    DefectCode.WRONG_STRUCTURE: "look at the camera's file writer; the layout is in docs/raw-ingest.md",
    DefectCode.CHECKSUM_MISMATCH: _SEND_AGAIN,
    DefectCode.WRONG_CAMERA: "deliver it to its own installation, or correct ZSDS_CAMERA",
    DefectCode.WRONG_SHAPE: "look at the camera's readout window, or correct the camera's declaration",
    DefectCode.UNDECODABLE: _SEND_AGAIN,
    DefectCode.HEADER_CONTRACT: "mend the named keywords at the camera; the contract: include/config/headers",
    DefectCode.IDENTITY_MISMATCH: "find out which of name and header is right, and deliver it so",
    DefectCode.IMPOSSIBLE_TIME: "look at the clocks of camera and ingest; deliver with the right time",
    DefectCode.IMPOSSIBLE_POINTING: "look at the telescope's pointing keywords; deliver with the right ones",
    DefectCode.EXPOSURE_MISMATCH: "compare the headers of this exposure's files; deliver the right one",
    DefectCode.CONFLICT: "compare both files; the first stays until somebody removes it by hand",
    DefectCode.INTERNAL_ERROR: "our fault: report the traceback in the facts, deliver again when mended",
}


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong."""

    code: DefectCode
    reason: str


@dataclass(frozen=True)
class Refusal:
    """Why a file is refused: all its defects, filed under the gravest."""

    defects: tuple[Defect, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, code: DefectCode, *reasons: str, **facts: Any) -> Refusal:
        """Return a refusal for reasons of one kind."""
        return cls(tuple(Defect(code, reason) for reason in reasons), facts)

    @property
    def code(self) -> DefectCode:
        """The gravest kind."""
        return gravest(self.defects)

    @property
    def reason(self) -> str:
        """Every defect in one sentence."""
        return "; ".join(defect.reason for defect in self.defects)

    @property
    def remedy(self) -> str:
        """What to do about the gravest."""
        return REMEDIES[self.code]


def gravest(defects: Sequence[Defect]) -> DefectCode:
    """Return the code that stands first in the list of codes."""
    order = list(DefectCode)
    return min((defect.code for defect in defects), key=order.index)
