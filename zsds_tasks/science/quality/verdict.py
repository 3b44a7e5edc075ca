"""May this image be used, and with what in mind? Status, INFOBITS and the reasons (reference section 4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.infobits import InfoBit, combine
from zsds_tasks.science.quality.science import ScienceMetrics

Positive = Annotated[float, Field(gt=0)]
BEST_AIRMASS, WORST_AIRMASS = 1.0, 2.5  # where a header has none: what can be said of it is said


class PhotometricCuts(Declaration):
    """Where the zero point of one filter, reduced to 30 s, is not believed."""

    zp_high: float = Field(description="at airmass 0, mag; higher is bad")
    zp_low: float = Field(description="at airmass 0, mag, of channels without their own; lower is bad")
    zp_low_of: dict[int, float] = Field(default={}, description="of single readout channels, by rcid")
    per_airmass: float = Field(description="how much both fall, mag")
    max_rms: Positive = Field(description="of the calibrators, mag")
    matches_per_deg2: Positive = Field(description="calibrators, fewer is bad")


class VerdictConfig(Declaration):
    """What sets a bit, and what makes an image unusable."""

    filters: dict[str, PhotometricCuts] = Field(
        default={
            "g": PhotometricCuts(
                zp_high=26.8, zp_low=25.86, per_airmass=0.20, max_rms=0.06, matches_per_deg2=107.0
            ),
            "r": PhotometricCuts(
                zp_high=26.75, zp_low=25.85, per_airmass=0.15, max_rms=0.05, matches_per_deg2=160.5
            ),
            "i": PhotometricCuts(
                zp_high=26.1, zp_low=25.31, per_airmass=0.07, max_rms=0.06, matches_per_deg2=133.75
            ),
        },
        description="bad photometric quality, by name of filter; 80, 120, 100 stars on a ZTF quadrant",
    )
    astrometric_rms_arcsec: Positive = Field(0.20, description="per axis, warn above")
    astrometric_cell_arcsec: Positive = Field(0.15, description="median residual of a cell, warn above")
    astrometric_matches_per_deg2: Positive = Field(67.0, description="warn below; 50 on a ZTF quadrant")
    elongation: Positive = Field(1.3, description="of the PSF, major over minor axis, warn above")
    sky_gradient: Positive = Field(0.15, description="largest less smallest sky, over the sky, warn above")
    saturated_fraction: Positive = Field(0.005, description="of the pixels, warn above")
    masked_fraction: Positive = Field(0.05, description="of the pixels, warn above")
    calibration_age_d: Positive = Field(7.0, description="of the oldest master frame, warn above")
    trail_elongation: Positive = Field(1.8, description="of the PSF, the telescope did not follow above")
    double_share: Positive = Field(0.3, description="of stars with a second image at the same offset")
    fatal_lost_fraction: Positive = Field(
        0.5, description="of the pixels, ghosts and halos apart: they leave the stars; unusable above"
    )
    fatal_astrometric_rms_arcsec: Positive = Field(0.50, description="per axis, unusable above")
    fatal_noise_ratio: Positive = Field(5.0, description="noise over that expected, unusable above")
    fatal_fwhm_px: Positive = Field(15.0, description="of the PSF, unusable above")
    fatal_extinction_mag: Positive = Field(
        3.0, description="zero point under the lowest good, unusable above"
    )
    bad_quadrants: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of an exposure's channels that are bad or failed, the whole is bad from there"
    )


@dataclass(frozen=True)
class ScienceVerdict:
    """What is thought of one image.

    Parameters
    ----------
    status : int
        1 if it may be used, 0 if not.
    infobits : int
        See `zsds_tasks.products.infobits`.
    reasons : tuple of str
        Every condition met, with its numbers; what makes an image unusable comes first.
    """

    status: int
    infobits: int
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """All reasons in one line; empty if there are none."""
        return "; ".join(self.reasons)


Condition = tuple[bool, str]
Warned = tuple[InfoBit, Condition]


def judge(metrics: ScienceMetrics, config: VerdictConfig | None = None) -> ScienceVerdict:
    """Return the verdict on one image.

    Parameters
    ----------
    metrics : ScienceMetrics
        What is None is not judged, apart from sources, astrometry and zero point: without them an image is
        unusable.
    config : VerdictConfig, optional
        A filter it does not name is not judged by its zero point.
    """
    config = config or VerdictConfig()
    fatal = [text for holds, text in _fatal(metrics, config) if holds]
    judges = (_of_astrometry, _of_photometry, _of_pixels)
    met = [(bit, text) for of in judges for bit, (holds, text) in of(metrics, config) if holds]
    infobits = combine({bit for bit, _ in met})
    reasons = dict.fromkeys([*fatal, *(text for _, text in met)])  # one condition may set two bits
    return ScienceVerdict(int(not fatal), infobits, tuple(reasons))


def judge_exposure(rows: pa.Table, config: VerdictConfig | None = None) -> pa.Table:
    """Mark every channel of an exposure as bad where too many of them are.

    Clouds that blind half of the camera dim the rest of it too, by less than a single channel shows.

    Parameters
    ----------
    rows : pyarrow.Table
        One row per channel with `status`, `infobits` and `reason` as in science_images; other columns stay.
    config : VerdictConfig, optional

    Returns
    -------
    pyarrow.Table
        The same rows; bit 25 and a reason added to those that had not the bit.
    """
    config = config or VerdictConfig()
    if rows.num_rows == 0:
        return rows
    flag = InfoBit.BAD_PHOTOMETRY.flag
    infobits = rows["infobits"].to_numpy()
    marked = (infobits & flag) != 0
    bad = int(np.count_nonzero(marked | (rows["status"].to_numpy() == 0)))
    if bad < config.bad_quadrants * rows.num_rows:
        return rows
    why = f"{bad} of {rows.num_rows} channels of the exposure are bad or failed"
    reasons = [
        text if old else "; ".join(filter(None, (text, why)))
        for text, old in zip(rows["reason"].to_pylist(), marked, strict=True)
    ]
    for name, values in (("infobits", infobits | flag), ("reason", reasons)):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))
    return rows


def _over(value: float | None, limit: float, words: str) -> Condition:
    """Return whether a value is known and above its limit, and the words with both filled in."""
    return (False, "") if value is None else (value > limit, words.format(value, limit))


def _under(value: float | None, limit: float, words: str) -> Condition:
    return (False, "") if value is None else (value < limit, words.format(value, limit))


def _fatal(m: ScienceMetrics, c: VerdictConfig) -> list[Condition]:
    found = [
        (not m.n_sources, "no sources"),
        (m.n_astrometry is None, "no astrometric solution"),
        (m.zp30 is None or not np.isfinite(m.zp30), "no zero point"),
        _over(m.lost_fraction, c.fatal_lost_fraction, "{:.0%} of the pixels are lost, over {:.0%}"),
        _over(_rms(m), c.fatal_astrometric_rms_arcsec, "astrometric RMS {:.2f} arcsec, over {:g}"),
        _over(m.noise_ratio, c.fatal_noise_ratio, "noise is {:.1f} times that expected, over {:g}"),
        _over(m.fwhm, c.fatal_fwhm_px, "FWHM {:.1f} px, over {:g}"),
    ]
    cuts = c.filters.get(m.filter_name)
    if cuts is not None:
        low = _lowest(m, cuts) - c.fatal_extinction_mag
        found.append(_under(m.zp30, low, "zero point {:.2f} of 30 s, under {:.2f}: hardly any light"))
    return found


def _of_astrometry(m: ScienceMetrics, c: VerdictConfig) -> list[Warned]:
    needed = round(c.astrometric_matches_per_deg2 * m.area_deg2)
    blind = m.astrometry_rung not in {None, "prior"}
    return [
        (
            InfoBit.ASTROMETRY,
            _over(_rms(m), c.astrometric_rms_arcsec, "astrometric RMS {:.3f} arcsec, over {:g}"),
        ),
        (
            InfoBit.ASTROMETRY,
            _over(
                _worst_cell(m.astrometry_cells),
                c.astrometric_cell_arcsec,
                "astrometry of a cell is off by {:.3f} arcsec, over {:g}",
            ),
        ),
        (InfoBit.BLIND_SOLVE, (blind, f"astrometry was found on the rung '{m.astrometry_rung}'")),
        (
            InfoBit.FEW_ASTROMETRIC,
            _under(m.n_astrometry, needed, "{} stars in the astrometric fit, under {}"),
        ),
    ]


def _of_photometry(m: ScienceMetrics, c: VerdictConfig) -> list[Warned]:
    held = (m.colour_held, "the colour coefficient is not this image's own")
    found: list[Warned] = [(InfoBit.FEW_PHOTOMETRIC, held)]
    cuts = c.filters.get(m.filter_name)
    if cuts is None:
        return found
    needed = round(cuts.matches_per_deg2 * m.area_deg2)
    few = _under(m.nmatches, needed, "{} stars in the photometric fit, under {}")
    wide = _over(m.magzprms, cuts.max_rms, "calibrators scatter by {:.3f} mag, over {:g}")
    high = cuts.zp_high - cuts.per_airmass * (m.airmass or BEST_AIRMASS)
    return [
        *found,
        (InfoBit.FEW_PHOTOMETRIC, few),
        (InfoBit.BAD_PHOTOMETRY, few),
        (InfoBit.ZERO_POINT_RMS, wide),
        (InfoBit.BAD_PHOTOMETRY, wide),
        (InfoBit.BAD_PHOTOMETRY, _over(m.zp30, high, "zero point {:.3f} of 30 s, over {:.3f}")),
        (InfoBit.BAD_PHOTOMETRY, _under(m.zp30, _lowest(m, cuts), "zero point {:.3f} of 30 s, under {:.3f}")),
    ]


def _of_pixels(m: ScienceMetrics, c: VerdictConfig) -> list[Warned]:
    uneven = m.sky_gradient / m.sky if m.sky_gradient is not None and m.sky else None
    saturated = m.n_saturated / m.n_pixels if m.n_saturated is not None and m.n_pixels else None
    oldest, trail = c.calibration_age_d, c.trail_elongation
    return [
        (InfoBit.ELONGATED, _over(m.elongation, c.elongation, "PSF elongated {:.2f}, over {:g}")),
        (InfoBit.SKY_GRADIENT, _over(uneven, c.sky_gradient, "sky uneven by {:.0%}, over {:.0%}")),
        (
            InfoBit.SATURATED,
            _over(saturated, c.saturated_fraction, "{:.2%} of the pixels are saturated, over {:.2%}"),
        ),
        (
            InfoBit.MASKED,
            _over(m.masked_fraction, c.masked_fraction, "{:.1%} of the pixels are masked, over {:.0%}"),
        ),
        (
            InfoBit.OLD_CALIBRATION,
            _over(m.calibration_age_d, oldest, "calibration frames {:.1f} d old, over {:g}"),
        ),
        (InfoBit.TRACKING, _over(m.elongation, trail, "stars are trails, elongated {:.2f}, over {:g}")),
        (
            InfoBit.TRACKING,
            _over(m.double_share, c.double_share, "{:.0%} of the stars have a second image, over {:.0%}"),
        ),
    ]


def _lowest(m: ScienceMetrics, cuts: PhotometricCuts) -> float:
    """Return the lowest good zero point of this channel at this airmass."""
    at_zero = cuts.zp_low_of.get(m.rcid, cuts.zp_low)
    return at_zero - cuts.per_airmass * (m.airmass or WORST_AIRMASS)


def _rms(m: ScienceMetrics) -> float | None:
    return max((v for v in (m.rms_east, m.rms_north) if v is not None), default=None)


def _worst_cell(cells: tuple[float, ...] | None) -> float | None:
    """Return the longest of the vectors (east, north), cell after cell; None without any."""
    if cells is None:
        return None
    lengths = np.hypot(*np.asarray(cells, np.float64).reshape(-1, 2).T)
    return float(np.nanmax(lengths)) if np.isfinite(lengths).any() else None
