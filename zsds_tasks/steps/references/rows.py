"""From a co-add to its rows of references and reference_sources."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pyarrow as pa

from zsds_tasks.products.tables import load_table
from zsds_tasks.science.reference.build import Reference
from zsds_tasks.science.reference.config import ReferenceQualityConfig
from zsds_tasks.science.reference.quality import (
    ReferenceMeasures,
    ReferenceVerdict,
    judge_reference,
)
from zsds_tasks.steps.exposure.calibrated import Calibrated
from zsds_tasks.steps.exposure.rows import measured_columns, table_of, wcs_columns
from zsds_tasks.steps.references.work import REFERENCES, ReferenceWork, image_digest

Row = dict[str, Any]
SOURCES = "reference_sources"


def judged(
    measures: ReferenceMeasures, found: Calibrated, config: ReferenceQualityConfig
) -> tuple[ReferenceMeasures, ReferenceVerdict]:
    """Put what its sources say into the measures of a co-add, and judge it."""
    whole = replace(
        measures,
        fwhm_arcsec=found.psf.fwhm * found.pixel_scale_arcsec,
        depth=found.depth.limit,
        depth_gain=measures.depth_gain + found.depth.limit - measures.depth,
        astrometric_rms_arcsec=max(found.solution.residuals.rms_bright),
        zero_point_rms=found.zero_point.magzprms,
    )
    return whole, judge_reference(whole, config)


def reference_row(work: ReferenceWork, now: dt.datetime, reason: str) -> Row:
    """Return the row of a reference of which nothing but its epochs is known: one that failed."""
    first, last = work.epochs[0], work.epochs[-1]
    row: Row = {column.name: None for column in load_table(REFERENCES).columns}
    return row | {
        "rfid": int(work.rfid),
        "version": work.version,
        "vbest": 0,
        "status": 0,
        "reason": reason,
        **{name: first[name] for name in ("field", "fid", "filtercode", "rcid", "ccdid", "qid")},
        "ra": first["ra"],
        "dec": first["dec"],
        "nframes": len(work.epochs),
        "n_nights": len({row["night"] for row in work.epochs}),
        "jdstart": first["obsjd"],
        "jdend": last["obsjd"],
        "created": now,
        "products": [],
        "epochs": [row["pid"] for row in work.epochs],
        "refused": [f"{pid} {why}" for pid, why in sorted(work.refused.items())],
        "inputs": [image_digest(row) for row in work.epochs],
        "processing_version": work.processing_version,
    }


def measured_row(
    row: Row,
    reference: Reference,
    found: Calibrated,
    measures: ReferenceMeasures,
    verdict: ReferenceVerdict,
) -> Row:
    """Return the row with what was measured; a reference that may be used is the best from now on."""
    zero_point, (ny, nx) = found.zero_point, reference.shape
    where = wcs_columns(found.solution.wcs, reference.shape)
    row = row | {name: value for name, value in where.items() if name in row}
    return row | {
        "status": verdict.status,
        "vbest": verdict.status,
        "reason": verdict.reason or row["reason"],
        "seeing": measures.fwhm_arcsec,
        "magzp": zero_point.magzp,
        "zp_offset": zero_point.magzp - reference.zero_point,
        "magzprms": zero_point.magzprms,
        "clrcoeff": zero_point.clrcoeff,
        "clrcounc": zero_point.clrcounc,
        "nmatches": zero_point.nmatches,
        "maglimit": measures.depth,
        "depth_gain": measures.depth_gain,
        "coverage": measures.median_coverage,
        "coverage_low": measures.low_coverage,
        "empty_fraction": measures.nan_fraction,
        "rms_astrometry": measures.astrometric_rms_arcsec,
        "n_sources": len(found.points.xpos),
        "naxis1": nx,
        "naxis2": ny,
    }


def source_table(row: Row, found: Calibrated) -> pa.Table:
    """Return the rows of reference_sources."""
    constant = {name: row[name] for name in ("rfid", "version", "rcid", "field", "fid", "clrcoeff")}
    return table_of(SOURCES, measured_columns(found), constant)
