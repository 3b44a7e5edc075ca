"""From raw measures of sources to the columns of an aperture catalogue: errors, magnitudes, axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.aperture import Measures
from zsds_tasks.science.photometry.growth import MAG_OF_RATIO

Floats = NDArray[np.float64]


def place_columns(found: Measures) -> dict[str, NDArray[np.generic]]:
    """Return the columns of places: FITS positions, which count from 1."""
    return {
        "xwin_image": found.source["x"] + 1,
        "ywin_image": found.source["y"] + 1,
        "errx2win_image": found.source["var_x"],
        "erry2win_image": found.source["var_y"],
        "errxywin_image": found.source["cov_xy"],
        "x_image": found.iso["x"] + 1,
        "y_image": found.iso["y"] + 1,
    }


def light_columns(found: Measures, gain: float) -> dict[str, NDArray[np.generic]]:
    """Return the columns of light: fluxes, their errors from the noise of sky and light, magnitudes."""
    sky = found.noise**2
    area = np.pi * found.radii**2
    aper_error = np.sqrt(sky[:, None] * area + np.maximum(found.circles, 0) / gain)
    auto = found.source["auto"]
    auto_error = np.sqrt(sky * found.source["auto_area"] + np.maximum(auto, 0) / gain)
    mag_aper, magerr_aper = _magnitudes(found.circles, aper_error)
    mag_auto, magerr_auto = _magnitudes(auto, auto_error)
    return {
        "flux_aper": found.circles,
        "fluxerr_aper": aper_error,
        "mag_aper": mag_aper,
        "magerr_aper": magerr_aper,
        "lost_aper": found.lost,
        "flux_auto": auto,
        "fluxerr_auto": auto_error,
        "mag_auto": mag_auto,
        "magerr_auto": magerr_auto,
        "kron_radius": found.source["kron"],
        "flux_iso": found.iso["flux"],
        "flux_max": found.iso["peak"],
        "flux_radius": found.source["half_light"],
    }


def _magnitudes(flux: Floats, error: Floats) -> tuple[Floats, Floats]:
    positive = np.where(flux > 0, flux, np.nan)
    return -2.5 * np.log10(positive), MAG_OF_RATIO * error / positive


def shape_columns(found: Measures) -> dict[str, NDArray[np.generic]]:
    """Return the columns of shape, isophotal and windowed."""
    a, b, _ = _axes(found.iso["xx"], found.iso["yy"], found.iso["xy"])
    a_win, b_win, theta = _axes(found.source["xx"], found.source["yy"], found.source["xy"])
    return {
        "a_image": a,
        "b_image": b,
        "awin_image": a_win,
        "bwin_image": b_win,
        "thetawin_image": theta,
        "elongation": a_win / b_win,
        "fwhm_image": 2 * np.sqrt(np.log(2) * (a_win**2 + b_win**2)),
    }


def _axes(xx: Floats, yy: Floats, xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Return axes (roots of the variances along them) and the angle, degrees in -90 to 90."""
    middle, half = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    least = 1e-6
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    return np.sqrt(np.maximum(middle + half, least)), np.sqrt(np.maximum(middle - half, least)), angle
