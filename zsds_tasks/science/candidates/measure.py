"""What a candidate looks like on the difference: what pixels give of the alert record (section 6.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.subtraction import Subtraction
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.science.candidates.detect import Detections
from zsds_tasks.science.candidates.each import EACH_COLUMNS, measure_each

Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0)]
MAG_OF_SHARE = 2.5 / np.log(10)
CANDIDATE_COLUMNS = (
    "xpos", "ypos", "sigx", "sigy", "isdiffpos", "scorr",
    "flux", "sigflux", "snr", "magpsf", "sigmapsf", "chipsf", "sky",
    "fluxap", "sigfluxap", "magap", "sigmagap", "fluxapbig", "sigfluxapbig", "magapbig", "sigmagapbig",
    "magdiff", "magfromlim", "diffmaglim", "fwhm", "seeratio", "classtar", "aimage", "bimage", "aimagerat",
    "bimagerat", "elong", "nneg", "nbad", "sumrat", "mindtoedge", "dsnrms", "ssnrms", "dsdiff",
    "dipole", "dipole_px",
)  # fmt: skip


class MeasureConfig(Declaration):
    """How candidates are measured."""

    fit_radius_fwhm: Positive = Field(2.5, description="pixels fitted, in FWHM of the difference")
    roam_px: Annotated[float, Field(gt=0, le=1.5)] = Field(1.5, description="of a fit from its peak")
    sky_ring_px: tuple[float, float] = Field((10.0, 14.5), description="radii of the local sky's ring")
    aperture_px: Positive = Field(14.0, description="diameter of the aperture of magap")
    big_aperture_px: Annotated[float, Field(gt=0, le=28)] = Field(
        18.0, description="diameter of the aperture of magapbig"
    )
    aperture_sky: bool = Field(
        default=False,
        description="take the local sky off apertures too: issued packets do not, and its error is two "
        "thirds of that of 154 pixels",
    )
    dipole_fwhm: Positive = Field(1.5, description="where the other sign is looked for, in FWHM")
    least_fwhm: Annotated[float, Field(ge=0)] = Field(
        0.5, description="least fwhm, in FWHM of the difference: so seeratio is at most 2"
    )
    bits: Annotated[int, Field(ge=0, lt=1 << 16)] = Field(UNUSABLE, description="bits that nbad counts")
    score_excess: Annotated[float, Field(ge=1)] = Field(
        1.1, description="the noise of the score counts where it is so many times that of the fit"
    )
    flux_error_share: Annotated[float, Field(ge=0)] = Field(
        0.003, description="of the flux, in quadrature: the PSF itself is not known better"
    )
    star_spread: Positive = Field(0.12, description="of ln(fwhm / FWHM of the PSF) for points, beyond noise")


@dataclass(frozen=True)
class Candidates:
    """Measured candidates, in the order in which they were detected.

    Parameters
    ----------
    columns : dict of numpy.ndarray (N)
        The names of `CANDIDATE_COLUMNS`, which are those of the alert record where it has the field; float64
        but for isdiffpos (bool), nneg and nbad (int32). Positions are FITS 1-based. Fluxes are DN, positive
        for either sign. A magnitude whose flux is not above zero is NaN. Beyond the record:

        flux, sigflux, snr, fluxap, ... : what the magnitudes are made of;
        sigx, sigy : errors of the place, px;
        dipole : deepest S_corr of the other sign within reach over the peak; 0 for none, 1 for even halves;
        dipole_px : how far away it is.
    """

    columns: dict[str, NDArray[np.generic]]

    def __len__(self) -> int:
        """Return how many."""
        return len(self.columns["xpos"])

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        """Return a column (N)."""
        return self.columns[name]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Candidates:
        """Return some of them."""
        return Candidates({name: column[rows] for name, column in self.columns.items()})


def measure(
    subtraction: Subtraction,
    mask: Mask,
    detections: Detections,
    zero_point: float,
    limit: float,
    config: MeasureConfig,
) -> Candidates:
    """Measure candidates on a difference image.

    Parameters
    ----------
    subtraction : Subtraction
    mask : numpy.ndarray (ny, nx), uint16
        Of the difference.
    detections : Detections
    zero_point : float
        Of the difference image, mag.
    limit : float
        diffmaglim, mag.
    config : MeasureConfig

    Returns
    -------
    Candidates
        In the order of the detections. One around which no pixel can be used has no flux and is left out.

    Raises
    ------
    ValueError
        If mask and difference differ in shape.
    """
    if mask.shape != subtraction.difference.shape:
        raise ValueError(f"a difference of {subtraction.difference.shape} with a mask of {mask.shape}")
    tile = subtraction.tiles.at(detections.x, detections.y)
    fwhms = subtraction.fwhms
    found = np.column_stack([detections.x, detections.y, detections.score, detections.sign])
    radii = (config.aperture_px / 2, config.big_aperture_px / 2)
    settings = np.array(
        [
            config.fit_radius_fwhm, config.roam_px, *config.sky_ring_px, *radii, config.dipole_fwhm,
            float(config.aperture_sky),
        ]
    )  # fmt: skip
    out = np.zeros((len(detections), len(EACH_COLUMNS)))
    measure_each(
        subtraction.difference,
        subtraction.sigma,
        subtraction.score,
        mask,
        config.bits,
        subtraction.tables,
        tile,
        np.ascontiguousarray(found),
        np.column_stack([fwhms, subtraction.noise]),
        settings,
        out,
    )
    raw = {name: out[:, k] for k, name in enumerate(EACH_COLUMNS)}
    # S at the place holds the sheet of light as well: over all of S_corr it is the noise of S.
    height = detections.score + detections.level
    errors = _score_errors(raw, height, subtraction.flux_score[tile], config)
    with np.errstate(invalid="ignore", divide="ignore"):
        more = errors / raw["flux_error"]
    # What makes the flux uncertain beyond the noise of pixels moves the place as well.
    raw["x_error"], raw["y_error"] = more * raw["x_error"], more * raw["y_error"]
    raw["flux_error"] = np.hypot(errors, config.flux_error_share * raw["flux"])
    known = np.isfinite(raw["flux"]) & np.isfinite(raw["flux_error"]) & (raw["flux_error"] > 0)
    raw = {name: values[known] for name, values in raw.items()}
    return Candidates(
        _columns(raw, detections.take(known), mask.shape, fwhms[tile][known], zero_point, limit, config)
    )


def magnitudes(flux: Floats, error: Floats, zero_point: float) -> tuple[Floats, Floats]:
    """Return magnitudes and their errors (N); NaN where the flux is not above zero."""
    positive = np.where(flux > 0, flux, np.nan)
    return zero_point - 2.5 * np.log10(positive), MAG_OF_SHARE * error / positive


def _score_errors(raw: dict[str, Floats], score: Floats, flux_score: Floats, config: MeasureConfig) -> Floats:
    """Return the errors of the fluxes (N): those of the fits, or the score's where they are clearly larger.

    The score knows of the registration and of errors of the PSFs: S / S_corr is the noise of S.
    """
    by_score = raw["s_over_noise"] / score / np.sqrt(flux_score)
    return np.where(by_score > config.score_excess * raw["flux_error"], by_score, raw["flux_error"])


def _columns(
    raw: dict[str, Floats],
    detections: Detections,
    shape: tuple[int, ...],
    psf_fwhm: Floats,
    zero_point: float,
    limit: float,
    config: MeasureConfig,
) -> dict[str, NDArray[np.generic]]:
    ny, nx = shape
    magpsf, sigmapsf = magnitudes(raw["flux"], raw["flux_error"], zero_point)
    magap, sigmagap = magnitudes(raw["small"], raw["small_error"], zero_point)
    magapbig, sigmagapbig = magnitudes(raw["big"], raw["big_error"], zero_point)
    fwhm = np.maximum(raw["width"], config.least_fwhm * psf_fwhm)
    snr = raw["flux"] / raw["flux_error"]
    x, y = raw["x"], raw["y"]
    columns: dict[str, NDArray[np.generic]] = {
        "xpos": x + 1, "ypos": y + 1, "sigx": raw["x_error"], "sigy": raw["y_error"],
        "isdiffpos": detections.sign > 0, "scorr": detections.score,
        "flux": raw["flux"], "sigflux": raw["flux_error"], "snr": snr,
        "magpsf": magpsf, "sigmapsf": sigmapsf, "chipsf": raw["chi"], "sky": raw["sky"] * detections.sign,
        "fluxap": raw["small"], "sigfluxap": raw["small_error"], "magap": magap, "sigmagap": sigmagap,
        "fluxapbig": raw["big"], "sigfluxapbig": raw["big_error"],
        "magapbig": magapbig, "sigmagapbig": sigmagapbig,
        "magdiff": magap - magpsf, "magfromlim": limit - magap, "diffmaglim": np.full(len(x), limit),
        "fwhm": fwhm, "seeratio": psf_fwhm / fwhm, "classtar": _star_likeness(fwhm / psf_fwhm, snr, config),
        "aimage": raw["major"], "bimage": raw["minor"],
        "aimagerat": raw["major"] / fwhm, "bimagerat": raw["minor"] / fwhm,
        "elong": raw["major"] / raw["minor"],
        "nneg": raw["nneg"].astype(np.int32), "nbad": raw["nbad"].astype(np.int32), "sumrat": raw["sumrat"],
        "mindtoedge": np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y)),
        "dsnrms": raw["d_over_noise"], "ssnrms": raw["s_over_noise"],
        "dsdiff": raw["d_over_noise"] - raw["s_over_noise"],
        "dipole": raw["dipole"], "dipole_px": raw["dipole_px"],
    }  # fmt: skip
    assert tuple(columns) == CANDIDATE_COLUMNS  # noqa: S101 - one order for all who list them
    return columns


def _star_likeness(ratio: Floats, snr: Floats, config: MeasureConfig) -> Floats:
    """Return how like a point each width is, 0 to 1: classtar; 0.5 where noise says nothing.

    From how far the width is from the PSF's, in sigmas of its error; of a point at S/N s it is about 1 / s.
    """
    error = np.hypot(config.star_spread, 1.0 / np.maximum(snr, 1e-3))
    away = np.log(ratio) / error
    information = config.star_spread / error
    return np.asarray(0.5 + information * (np.exp(-0.5 * away**2) - 0.5))
