"""From a difference image and its candidates to rows of difference_images and candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.products.tables import load_table
from zsds_tasks.science.candidates.measure import Candidates
from zsds_tasks.science.difference.assess import Metrics
from zsds_tasks.steps.difference.work import CANDIDATES, DIFFERENCES, DifferenceWork
from zsds_tasks.steps.exposure.rows import table_of
from zsds_tasks.survey.identifiers import CandidateId, ProductId

Row = dict[str, Any]
DONE = "done"
CARRIED = ("pid", "expid", "rcid", "night", "obsjd", "field", "fid", "programid", "ra", "dec")
METRICS = (
    "overlap", "gain_factor", "gain_over_zero_points", "gain_scatter", "registration_px", "offset_px",
    "noise", "score_scatter", "level", "worst_level", "positive_over_negative", "star_residual", "fwhm_px",
    "diffmaglim",
)  # fmt: skip
MEASURED = (
    "isdiffpos", "xpos", "ypos", "flux", "sigflux", "snr", "scorr", "magpsf", "sigmapsf", "chipsf", "magap",
    "sigmagap", "magapbig", "sigmagapbig", "magdiff", "magfromlim", "diffmaglim", "sky", "fwhm", "seeratio",
    "classtar", "aimage", "bimage", "aimagerat", "bimagerat", "elong", "nneg", "nbad", "sumrat", "mindtoedge",
    "dsnrms", "ssnrms", "dsdiff", "dipole", "dipole_px",
)  # fmt: skip


def difference_row(work: DifferenceWork, engine: str, stage: str, reason: str) -> Row:
    """Return the row of a difference of which nothing is known but what it was to be made of."""
    row: Row = {column.name: None for column in load_table(DIFFERENCES).columns}
    row |= {name: work.image[name] for name in CARRIED}
    return row | {
        "status": 0,
        "stage": stage,
        "reason": reason,
        "pass_number": work.number,
        "rfid": work.reference["rfid"],
        "rfversion": work.reference["version"],
        "engine": engine,
        "products": [],
        "science_version": work.image["processing_version"],
        "processing_version": work.version,
        "core_seconds": 0.0,
    }


def measured_row(row: Row, metrics: Metrics, zero_point: float) -> Row:
    """Return the row with what was measured; what is no number is null."""
    values = metrics.as_dict()
    known = {name: values[name] if np.isfinite(values[name]) else None for name in METRICS}
    return row | known | {"magzp": zero_point, "n_stars": int(metrics.n_matches)}


def numbers(is_positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return tblid of candidates: their rows among those of their sign."""
    tblid = np.empty(len(is_positive), np.int64)
    for sign in (True, False):
        chosen = is_positive == sign
        tblid[chosen] = np.arange(np.count_nonzero(chosen))
    return tblid


def candidate_rows(work: DifferenceWork, found: Candidates, columns: dict[str, Any]) -> pa.Table:
    """Return the rows of candidates.

    Parameters
    ----------
    work : DifferenceWork
    found : Candidates
    columns : dict
        Places on the sky, and what lies near them.
    """
    is_positive = np.asarray(found["isdiffpos"], bool)
    tblid = numbers(is_positive)
    image = work.image
    first = [int(CandidateId(ProductId.parse(image["pid"]), work.number, sign, 0)) for sign in (False, True)]
    constant = {
        name: image[name] for name in ("pid", "expid", "night", "nid", "fid", "field", "rcid", "programid")
    }
    constant |= {
        "jd": image["obsjd"],
        "rfid": work.reference["rfid"],
        "rfversion": work.reference["version"],
        "rb": None,
        "rbversion": "",
        "drb": None,
        "drbversion": "",
        "processing_version": work.version,
    }
    measured = {name: _nullable(found[name]) for name in MEASURED}
    own = {"candid": np.where(is_positive, first[1], first[0]) + tblid, "tblid": tblid}
    return table_of(CANDIDATES, own | measured | columns, constant)


def _nullable(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind != "f":
        return pa.array(values)
    return pa.array(values, mask=~np.isfinite(values))
