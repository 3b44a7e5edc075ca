"""From what the chain found to rows of science_images, image_quality and sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.products.tables import arrow_schema, load_table
from zsds_tasks.sky.wcs import Wcs
from zsds_tasks.steps.exposure.calibrated import Calibrated
from zsds_tasks.steps.exposure.chain import Chain
from zsds_tasks.steps.exposure.measures import measure_quality
from zsds_tasks.steps.exposure.work import QuadrantWork

Row = dict[str, Any]
DONE = "done"
FROM_EXPOSURE = (
    "nid", "night", "obsjd", "exptime", "field", "fid", "filtercode", "programid", "ipac_gid",
    "ipac_pub_date",    "airmass", "moonillf",
)  # fmt: skip
PHOTOMETRIC = ("magzp", "magzpunc", "magzprms", "clrcoeff", "clrcounc", "nmatches")


def image_row(
    work: QuadrantWork,
    chain: Chain | None,
    stage: str,
    reason: str,
    products: dict[str, str],
    path: str | None,
) -> Row:
    """Return the row of science_images.

    Parameters
    ----------
    work : QuadrantWork
    chain : Chain or None
        As far as it came; None if it did not begin.
    stage : str
        Where it failed, or `DONE`.
    reason : str
        Why it failed, or what its verdict remarks.
    products : dict
        SHA-256 by suffix of the files written.
    path : str or None
        Of the science image.
    """
    row: Row = {column.name: None for column in load_table("science_images").columns}
    row |= {name: work.exposure[name] for name in FROM_EXPOSURE}
    row |= {name: work.quadrant[name] for name in ("expid", "rcid", "ccdid", "qid", "ra", "dec")}
    verdict = chain.verdict if chain and stage == DONE else None
    row |= {
        "pid": work.pid,
        "status": verdict.status if verdict else 0,
        "infobits": verdict.infobits if verdict else 0,
        "stage": stage,
        "reason": reason,
        "path": path,
        "products": [f"{digest} {suffix}" for suffix, digest in products.items()],
        "raw_sha256": work.quadrant["sha256"],
        "masters": list(work.calibration.ids),
        "processing_version": work.version,
    }
    if chain is None:
        return row
    if chain.psf is not None:
        row["seeing"] = chain.psf.fwhm * chain.pixel_scale_arcsec
    if chain.solution is not None:
        row |= wcs_columns(chain.solution.wcs, chain.shape)
    if chain.zero_point is not None:
        row |= {name: getattr(chain.zero_point, name) for name in PHOTOMETRIC}
    if chain.depth is not None:
        row["maglimit"] = chain.depth.limit
    if chain.reduced is not None:
        row["saturate"] = chain.reduced.saturation_level
    return row


def wcs_columns(wcs: Wcs, shape: tuple[int, int]) -> Row:
    """Return centre, corners and linear terms of a WCS."""
    ny, nx = shape
    x = np.array([(nx + 1) / 2, 1, nx, nx, 1])
    y = np.array([(ny + 1) / 2, 1, 1, ny, ny])
    ra, dec = wcs.pixel_to_sky(x, y)
    columns: Row = {"ra": float(ra[0]), "dec": float(dec[0])}
    columns |= {f"ra{k}": float(ra[k]) for k in range(1, 5)} | {f"dec{k}": float(dec[k]) for k in range(1, 5)}
    columns |= {
        "crpix1": wcs.crpix[0],
        "crpix2": wcs.crpix[1],
        "crval1": wcs.crval[0],
        "crval2": wcs.crval[1],
    }
    return columns | {f"cd{i + 1}{j + 1}": wcs.cd[i][j] for i in range(2) for j in range(2)}


def quality_row(image: Row, chain: Chain | None, core_seconds: float) -> Row:
    """Return the row of image_quality that goes with a row of science_images."""
    row: Row = {column.name: None for column in load_table("image_quality").columns}
    carried = (
        "expid",
        "rcid",
        "night",
        "obsjd",
        "fid",
        "ra",
        "dec",
        "status",
        "infobits",
        "processing_version",
    )
    row |= {name: image[name] for name in carried} | {"core_seconds": core_seconds}
    if chain is None:
        return row
    measured = (chain.quality or measure_quality(chain)).row()  # what stopped on its way was not judged
    return row | measured | {"core_seconds": core_seconds}


def source_rows(work: QuadrantWork, found: Calibrated, infobits: int) -> pa.Table:
    """Return the rows of sources of one calibrated image.

    Parameters
    ----------
    work : QuadrantWork
    found : Calibrated
    infobits : int
        Of the image.
    """
    constant = {
        "pid": work.pid,
        "expid": work.exposure["expid"],
        "rcid": work.quadrant["rcid"],
        "field": work.exposure["field"],
        "fid": work.exposure["fid"],
        "night": work.exposure["night"],
        "obsmjd": work.exposure["obsmjd"],
        "programid": work.exposure["programid"],
        "clrcoeff": found.zero_point.clrcoeff,
        "infobits": infobits,
    }
    return table_of("sources", measured_columns(found), constant)


def measured_columns(found: Calibrated) -> dict[str, Any]:
    """Return what was measured of each point source, under the names of the tables of sources."""
    points, n = found.points, len(found.points.xpos)
    return {
        "sourceid": np.arange(n),
        "xpos": points.xpos,
        "ypos": points.ypos,
        "ra": found.ra,
        "dec": found.dec,
        "sigpos": np.hypot(points.sigx, points.sigy) / np.sqrt(2) * found.pixel_scale_arcsec,
        "flux": points.flux,
        "sigflux": points.sigflux,
        "mag": _nullable(found.mag),
        "sigmag": _nullable(found.mag_error),
        "zpcorr": found.zpcorr,
        "snr": points.flux / points.sigflux,
        "chi": points.chi,
        "sharp": points.sharp,
        "flags": found.flags,
        **_aperture_columns(found),
    }


def table_of(name: str, columns: Mapping[str, Any], constant: Mapping[str, Any]) -> pa.Table:
    """Return a table's columns, in its order and types: arrays (n), and values that all rows share."""
    declared = load_table(name)
    schema, n = arrow_schema(declared), len(next(iter(columns.values())))
    arrays = []
    for column in declared.names:
        wanted = schema.field(column).type
        if column in constant:
            arrays.append(pa.array([constant[column]] * n, wanted) if n else pa.array([], wanted))
        else:
            given = columns[column]
            arrays.append((given if isinstance(given, pa.Array) else pa.array(given)).cast(wanted))
    return pa.table(dict(zip(declared.names, arrays, strict=True)))


def _nullable(values: NDArray[np.floating]) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _aperture_columns(found: Calibrated) -> dict[str, pa.Array]:
    """Spread the measures of the aperture catalogue over the point sources they belong to."""
    apertures, partner = found.apertures, found.partner
    has = partner >= 0
    row = np.where(has, partner, 0)

    def spread(values: NDArray[np.generic]) -> pa.Array:
        if len(values) == 0:
            return pa.nulls(len(partner), pa.from_numpy_dtype(values.dtype))
        taken = np.asarray(values)[row]
        absent = ~has if taken.dtype.kind != "f" else ~has | ~np.isfinite(taken)
        return pa.array(taken, mask=absent)

    def spread_lists(values: NDArray[np.floating]) -> pa.Array:
        ends = np.concatenate([[0], np.cumsum(has * values.shape[1])]).astype(np.int32)
        flat = pa.array(values[partner[has]].ravel().astype(np.float32))
        return pa.ListArray.from_arrays(pa.array(ends), flat, mask=pa.array(~has))

    return {
        "mag_aper": spread_lists(found.mag_aper),
        "sigmag_aper": spread_lists(found.mag_aper_error),
        "mag_auto": spread(found.mag_auto),
        "sigmag_auto": spread(found.mag_auto_error),
        "fwhm": spread(apertures.fwhm_image),
        "elongation": spread(np.maximum(apertures.elongation, 1.0)),
        "theta": spread(apertures.thetawin_image),
        "flux_radius": spread(apertures.flux_radius),
        "class_star": spread(apertures.class_star),
        "sexflags": spread(apertures.flags),
    }
