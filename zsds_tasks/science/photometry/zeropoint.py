"""The zero point of one image: m_catalogue - m_instrumental = MAGZP + CLRCOEFF x colour + term(x, y).

Instrumental magnitudes are -2.5 log10(flux in DN); reference section 4.5. The term is that of `spatial`; its
mean over the image is zero, so MAGZP is the image's mean zero point for a star of colour zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import ConfigurationError, UnusableInputError
from zsds_tasks.science.photometry.calibrators import (
    Calibrators,
    CatalogStars,
    MeasuredSources,
    choose_calibrators,
)
from zsds_tasks.science.photometry.robust_fit import (
    SIGMA_PER_MAD,
    LinearFit,
    Prior,
    fit_robustly,
    shortest_half,
)
from zsds_tasks.science.photometry.spatial import (
    SpatialConfig,
    SpatialTerm,
    cell_medians,
    mean_squares,
    spatial_design,
    term_degrees,
)
from zsds_tasks.science.photometry.zeropoint_config import FilterCalibration, ZeroPointConfig
from zsds_tasks.science.photometry.zeropoint_solution import ZeroPoint

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MAG_PER_LN = 2.5 / np.log(10.0)
HELD_SIGMA = 1e-6  # of a colour coefficient that the calibrators of this image may not move
WEAK = 1e-6  # inverse variance of the level beforehand, mag^-2; that of spatial coefficients is 1


class Cause(StrEnum):
    """Why there is no zero point; the fact `cause` of the error."""

    NO_SOURCES = "no_sources"
    CATALOG_EMPTY = "catalog_empty"
    TOO_FEW_CALIBRATORS = "too_few_calibrators"


def calibrate(
    sources: MeasuredSources,
    stars: CatalogStars,
    filter_name: str,
    shape: tuple[int, int],
    config: ZeroPointConfig | None = None,
    *,
    subject: str = "image",
) -> ZeroPoint:
    """Find the zero point of one image.

    Parameters
    ----------
    sources : MeasuredSources
    stars : CatalogStars
        All rows around the image, faint ones and galaxies too: they tell which calibrators are single.
    filter_name : str
        A key of `config.filters`.
    shape : (ny, nx)
    config : ZeroPointConfig, optional
    subject : str
        What errors name.

    Returns
    -------
    ZeroPoint

    Raises
    ------
    UnusableInputError
        If there is none; the fact `cause` is a `Cause`.
    ConfigurationError
        If the filter is not declared.
    """
    config = config or ZeroPointConfig()
    band = config.filters.get(filter_name)
    if band is None:
        raise ConfigurationError(
            f"filter {filter_name} is not among {', '.join(config.filters)}",
            subject=subject,
            remedy="declare its band and colour under filters",
        )
    for table, cause, words in (
        (sources, Cause.NO_SOURCES, "no sources to calibrate"),
        (stars, Cause.CATALOG_EMPTY, "no row of the photometric catalogue"),
    ):
        if len(table) == 0:
            raise UnusableInputError(
                words, subject=subject, remedy="look at the image and its place", cause=str(cause)
            )
    calibrators = choose_calibrators(sources, stars, band, config.calibrators)
    return fit_zero_point(calibrators, band, shape, config, subject=subject)


@dataclass(frozen=True)
class _Data:
    """What is fitted: zero points (n) of the calibrators used, their errors, and colours less the pivot.

    The colour coefficient is expected to be `expected`, with an inverse variance of `sureness`; `held` says
    why the calibrators may not move it.
    """

    rows: Calibrators
    used: Integers
    target: Floats
    sigma: Floats
    colour: Floats
    pivot: float
    expected: float
    sureness: float
    held: str


def fit_zero_point(
    calibrators: Calibrators,
    band: FilterCalibration,
    shape: tuple[int, int],
    config: ZeroPointConfig,
    *,
    subject: str = "image",
) -> ZeroPoint:
    """Fit zero point, colour term and, where they show it, the spatial term to calibrators.

    As `calibrate` with the calibrators at hand.

    Raises
    ------
    UnusableInputError
        If there are too few; the fact `cause` is a `Cause`.
    """
    data = _prepare(calibrators, band, config) if len(calibrators) else None
    if data is None or len(data.used) < config.min_calibrators:
        raise _too_few(0 if data is None else len(data.used), calibrators, config, subject)
    fit, order = _fit_order(data, shape, config)
    n_kept = int(np.count_nonzero(fit.keep))
    if n_kept < config.min_calibrators:
        raise _too_few(n_kept, calibrators, config, subject)
    return _summarise(data, fit, order, band, shape, config.spatial)


def _too_few(n: int, calibrators: Calibrators, config: ZeroPointConfig, subject: str) -> UnusableInputError:
    return UnusableInputError(
        f"{n} calibrators agree, the zero point needs {config.min_calibrators}; {len(calibrators)} were "
        f"chosen, of {calibrators.n_sources} sources {calibrators.n_matched} are in the catalogue",
        subject=subject,
        remedy="look at the image for clouds, at its astrometry and at the catalogue's coverage",
        cause=str(Cause.TOO_FEW_CALIBRATORS),
    )


def _prepare(rows: Calibrators, band: FilterCalibration, config: ZeroPointConfig) -> _Data:
    raw = rows.mag + 2.5 * np.log10(rows.flux)
    start, _ = shortest_half(raw - band.coefficient * rows.colour)
    # Of the flux that is expected, not of the one measured: a star that came out bright by chance would
    # otherwise weigh more, and pull the zero point.
    snr = 10.0 ** (-0.4 * (rows.mag - band.coefficient * rows.colour - start)) / rows.flux_error
    used = np.flatnonzero(snr >= config.calibrators.min_snr)
    snr, colour = snr[used], rows.colour[used]
    held = ""
    if len(used) < config.min_colour_calibrators:
        held = f"{len(used)} calibrators, under {config.min_colour_calibrators}"
    elif np.std(colour) < config.min_colour_spread_mag:
        held = f"colours spread by {np.std(colour):.3f} mag, under {config.min_colour_spread_mag:g}"
    pivot = float(np.median(colour)) if len(used) else 0.0
    return _Data(
        rows=rows,
        used=used,
        # The mean of a logarithm is not the logarithm of the mean: second order in noise over signal.
        target=raw[used] + MAG_PER_LN / 2 / snr**2,
        sigma=np.hypot(MAG_PER_LN / snr, rows.mag_error[used]),
        colour=colour - pivot,
        pivot=pivot,
        expected=band.coefficient,
        sureness=(HELD_SIGMA if held else band.coefficient_error) ** -2,
        held=held,
    )


def _fit_order(data: _Data, shape: tuple[int, int], config: ZeroPointConfig) -> tuple[LinearFit, int]:
    """Fit with the spatial order that the calibrators prove, and that matters."""
    level, _ = shortest_half(data.target - data.expected * data.colour)
    plain = best = _fit(data, shape, 0, np.array([level, data.expected]), config)
    best_order = 0
    for order in range(1, config.spatial.max_order + 1):
        if len(data.used) < config.spatial.stars_per_coefficient * (2 + len(term_degrees(order))):
            break
        bolder = _fit(data, shape, order, plain.coefficients, config)
        gain = best.information - bolder.information
        if gain > config.spatial.evidence and _matters(bolder, order, config.spatial):
            best, best_order = bolder, order
    return best, best_order


def _fit(
    data: _Data, shape: tuple[int, int], order: int, start: Floats, config: ZeroPointConfig
) -> LinearFit:
    term = spatial_design(data.rows.x[data.used], data.rows.y[data.used], shape, order)
    design = np.column_stack([np.ones(len(data.colour)), data.colour, term])
    prior = Prior(
        mean=np.array([0.0, data.expected, *np.zeros(term.shape[1])]),
        precision=np.array([WEAK, data.sureness, *np.ones(term.shape[1])]),
        scatter=config.scatter_mag,
        scatter_points=config.scatter_calibrators,
    )
    padded = np.pad(start, (0, design.shape[1] - len(start)))
    return fit_robustly(design, data.target, data.sigma, padded, prior, config.outlier_range_mag)


def _matters(fit: LinearFit, order: int, config: SpatialConfig) -> bool:
    """Whether a spatial term is large enough to be applied, and known better than it is large."""
    squares = mean_squares(order)
    noise = float(np.sum(np.diag(fit.covariance)[2:] * squares))
    signal = float(np.sum(fit.coefficients[2:] ** 2 * squares)) - noise
    return signal > max(config.min_rms_mag**2, noise)


def _summarise(
    data: _Data,
    fit: LinearFit,
    order: int,
    band: FilterCalibration,
    shape: tuple[int, int],
    config: SpatialConfig,
) -> ZeroPoint:
    kept = data.used[fit.keep]
    rows, covariance = data.rows, fit.covariance.copy()
    if data.held:
        covariance[1, 1] += band.coefficient_error**2
    level, coefficient = fit.coefficients[:2]
    spatial = SpatialTerm(order, tuple(fit.coefficients[2:].tolist()), shape)
    x, y, colour = rows.x[kept], rows.y[kept], rows.colour[kept]
    without_colour = data.target[fit.keep]
    before = without_colour - level - coefficient * data.colour[fit.keep]
    residual = before - spatial.at(x, y)
    variance = covariance[0, 0] - 2 * data.pivot * covariance[0, 1] + data.pivot**2 * covariance[1, 1]
    return ZeroPoint(
        magzp=float(level - coefficient * data.pivot),
        magzpunc=float(np.sqrt(variance)),
        magzprms=_rms(residual),
        clrcoeff=float(coefficient),
        clrcounc=float(np.sqrt(covariance[1, 1])),
        zpclrcov=float(covariance[0, 1] - data.pivot * covariance[1, 1]),
        pcolor=band.pcolor,
        nmatches=len(kept),
        n_clipped=len(data.used) - len(kept),
        zpmed=float(np.median(without_colour)),
        zpavg=float(np.mean(without_colour)),
        zprmsall=_rms(without_colour - np.mean(without_colour)),
        clrmed=float(np.median(colour)),
        clravg=float(np.mean(colour)),
        clrrms=_rms(colour - np.mean(colour)),
        scatter=fit.scatter,
        pull=SIGMA_PER_MAD * float(np.median(np.abs(residual / data.sigma[fit.keep]))),
        spatial=spatial,
        cells_before=cell_medians(x, y, before, shape, config.cells, config.min_cell_stars),
        cells_after=cell_medians(x, y, residual, shape, config.cells, config.min_cell_stars),
        source=rows.source[kept],
        star=rows.star[kept],
        residual=residual,
        colour_held=bool(data.held),
        remarks=(f"colour coefficient held at {coefficient:g}: {data.held}",) if data.held else (),
    )


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
