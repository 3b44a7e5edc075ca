"""How good a reference came out, and whether it may be used (reference section 5, QA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.reference.build import Epoch, Reference
from zsds_tasks.science.reference.config import ReferenceQualityConfig

SIGMA_OF_FWHM = 1 / 2.3548200450309493
N_SIGMA = 5.0


@dataclass(frozen=True)
class ReferenceMeasures:
    """Numbers a reference is judged by. Those of the channel leave out what less than half of the epochs saw.

    Parameters
    ----------
    n_frames : int
    median_coverage : float
        Frames.
    low_coverage : float
        Frames that the configured share of the channel has at least.
    nan_fraction : float
        Of the channel.
    fwhm_arcsec : float
        Expected from the epochs, until the PSF is measured.
    depth : float
        5 sigma for a point source, mag, from uncertainty and FWHM.
    depth_gain : float
        Over the median epoch, mag.
    noise : float
        Median uncertainty, DN.
    astrometric_rms_arcsec, zero_point_rms : float or None
        Of the calibration of the reference's own sources; None until it is done.
    """

    n_frames: int
    median_coverage: float
    low_coverage: float
    nan_fraction: float
    fwhm_arcsec: float
    depth: float
    depth_gain: float
    noise: float
    astrometric_rms_arcsec: float | None = None
    zero_point_rms: float | None = None


@dataclass(frozen=True)
class ReferenceVerdict:
    """Whether a reference may be used.

    Parameters
    ----------
    status : int
        1 if it may, 0 if not.
    reasons : tuple of str
        Every limit missed, with its numbers.
    """

    status: int
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """All reasons in one line; empty if there are none."""
        return "; ".join(self.reasons)


def measure_reference(
    reference: Reference, epochs: Sequence[Epoch], config: ReferenceQualityConfig | None = None
) -> ReferenceMeasures:
    """Return what can be said of a reference before its sources are measured.

    Parameters
    ----------
    reference : Reference
    epochs : sequence of Epoch
        What it was made of.
    config : ReferenceQualityConfig, optional

    Returns
    -------
    ReferenceMeasures
        `dataclasses.replace` puts in what comes later: the measured FWHM and the two RMS.
    """
    config = config or ReferenceQualityConfig()
    coverage, noise = _in_channel(reference, len(epochs))
    pixel_arcsec = reference.wcs.pixel_scale_arcsec
    known = noise[np.isfinite(noise)]
    sigma = float(np.median(known)) if known.size else math.nan
    depth = point_source_depth(reference.zero_point, sigma, reference.fwhm_px)
    return ReferenceMeasures(
        n_frames=len(epochs),
        median_coverage=float(np.median(coverage)) if coverage.size else 0.0,
        low_coverage=_reached_by(coverage, config.coverage_area),
        nan_fraction=1 - known.size / max(noise.size, 1),
        fwhm_arcsec=reference.fwhm_px * pixel_arcsec,
        depth=depth,
        depth_gain=depth - float(np.median([e.maglimit for e in epochs])),
        noise=sigma,
    )


def point_source_depth(zero_point: float, sigma: float, fwhm_px: float) -> float:
    """Return the 5 sigma limit (mag) of a Gaussian star in noise sigma per pixel (reference section 4.6)."""
    if not (sigma > 0 and fwhm_px > 0):
        return math.nan
    n_eff = 4 * math.pi * (fwhm_px * SIGMA_OF_FWHM) ** 2
    return zero_point - 2.5 * math.log10(N_SIGMA * sigma * math.sqrt(n_eff))


def judge_reference(
    measures: ReferenceMeasures, config: ReferenceQualityConfig | None = None
) -> ReferenceVerdict:
    """Return the verdict on a reference; what is None is not judged, what is NaN fails."""
    c, m = config or ReferenceQualityConfig(), measures
    rms, zp_rms = m.astrometric_rms_arcsec, m.zero_point_rms
    limits = [
        (
            m.median_coverage >= c.median_coverage,
            f"median coverage {m.median_coverage:g}, under {c.median_coverage:g}",
        ),
        (
            m.low_coverage >= c.coverage,
            f"coverage {m.low_coverage:g} over {c.coverage_area:.0%} of the channel, under {c.coverage:g}",
        ),
        (m.fwhm_arcsec <= c.fwhm_arcsec, f"FWHM {m.fwhm_arcsec:.2f} arcsec, over {c.fwhm_arcsec:g}"),
        (
            m.depth_gain >= c.depth_gain_mag,
            f"{m.depth_gain:.2f} mag deeper than an epoch, under {c.depth_gain_mag:g}",
        ),
        (
            m.nan_fraction <= c.nan_fraction,
            f"{m.nan_fraction:.1%} without a value, over {c.nan_fraction:.0%}",
        ),
    ]
    if rms is not None:
        most = c.astrometric_rms_arcsec
        limits.append((rms <= most, f"astrometric RMS {rms:.3f} arcsec, over {most:g}"))
    if zp_rms is not None:
        most = c.zero_point_rms_mag
        limits.append((zp_rms <= most, f"calibrators scatter by {zp_rms:.3f} mag, over {most:g}"))
    reasons = tuple(text for holds, text in limits if not holds)
    return ReferenceVerdict(int(not reasons), reasons)


def _in_channel(reference: Reference, n: int) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Return coverage and uncertainty of the pixels whose block at least half of the epochs saw."""
    ny, nx = reference.shape
    seen = reference.footprints >= max(1, (n + 1) // 2)
    rows, columns = np.arange(ny) // reference.block_px, np.arange(nx) // reference.block_px
    inside = seen[rows][:, columns]
    return reference.coverage[inside], reference.uncertainty[inside]


def _reached_by(coverage: NDArray[np.int16], share: float) -> float:
    """Return the coverage that a share of the pixels has at least."""
    if not coverage.size:
        return 0.0
    drop = min(math.floor((1 - share) * coverage.size + 1e-9), coverage.size - 1)
    return float(np.partition(coverage, drop)[drop])
