"""Is a delivered file a good raw frame of this camera? Bytes in, a verified frame or a refusal out."""

from zsds_tasks.science.raw.defects import Defect, DefectCode, Refusal
from zsds_tasks.science.raw.frame import RawFrame, nominal_centres
from zsds_tasks.science.raw.rows import exposure_row, quadrant_rows
from zsds_tasks.science.raw.rules import RawRules, VerificationConfig
from zsds_tasks.science.raw.verification import oversize_reason, verify

__all__ = [
    "Defect",
    "DefectCode",
    "RawFrame",
    "RawRules",
    "Refusal",
    "VerificationConfig",
    "exposure_row",
    "nominal_centres",
    "oversize_reason",
    "quadrant_rows",
    "verify",
]
