"""Measures of stamps for the feature model: how sharp, how lonely, how symmetric, in units that cancel.

Each stamp counts in units of its own scatter about its own level: what unit its pixels have, how much sky is
under them and what an archive divided them by, says nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.realbogus.triplets import N_CHANNELS, SIZE

Floats = NDArray[np.float32]
CHANNELS: Final = ("science", "template", "difference")
SHAPES: Final = (
    *(f"{channel}_{name}" for channel in CHANNELS for name in ("sharp", "low")),
    *(f"{channel}_{name}" for channel in CHANNELS[:2] for name in ("light", "slope", "bright", "far")),
    *("rough", "beside", "deep", "turned", "narrow", "wide", "blank_near", "blank_wide"),
)
"""Names of the measures, in order."""
HALF: Final = 20
CORE, NEAR, LIGHT, DEEP, AROUND, WIDE = 1.5, 3.5, 6.5, 8.0, 9.0, 10.0
"""Radii in pixels of about 1 arcsec, half a FWHM or so."""
STEP: Final = 3
"""Every so many pixels tell level and scatter of a stamp."""
LEAST_SCATTER, LEAST_PEAK, LEAST_CORE, MOST = 1e-9, 1.0, 0.1, 10.0
"""What is divided by is no less; a ratio says no more beyond the last."""
BATCH: Final = 256

_offset = np.arange(-HALF, HALF + 1)
_R = np.hypot(*np.meshgrid(_offset, _offset)).ravel().astype(np.float32)
_APART = np.maximum(*np.abs(np.meshgrid(_offset, _offset))).ravel()
_THREE, _FIVE, _NINE = (np.flatnonzero(side >= _APART) for side in (1, 2, 4))
_RING = np.flatnonzero((_R > NEAR) & (_R <= AROUND))


def shape_measures(stamps: NDArray[np.floating]) -> Floats:
    """Return the measures `SHAPES` of triplets.

    Parameters
    ----------
    stamps : numpy.ndarray (n, 3, 63, 63)
        Science, reference, difference; any units, NaN where there is nothing. The middle of the difference
        is made positive.

    Returns
    -------
    numpy.ndarray (n, len(SHAPES)), float32
        NaN of what cannot be said.
    """
    parts = [_measured(np.asarray(stamps[k : k + BATCH], np.float32)) for k in range(0, len(stamps), BATCH)]
    return np.concatenate([np.zeros((0, len(SHAPES)), np.float32), *parts])


def _measured(stamps: Floats) -> Floats:
    pixels = _in_scatters(stamps)
    is_known = np.isfinite(pixels)
    pixels = np.where(is_known, pixels, 0.0)
    turn = np.where(pixels[:, 2, _within(CORE)].sum(axis=1) < 0, np.float32(-1), np.float32(1))
    pixels[:, 2] *= turn[:, None]
    difference = pixels[:, 2]
    peak = np.maximum(difference[:, _THREE].max(axis=1), LEAST_PEAK)
    core = np.maximum(difference[:, _within(CORE)].mean(axis=1), LEAST_CORE)
    found = _of_difference(difference, peak) | {
        f"blank_{name}": 1.0 - is_known[:, 2, _within(radius)].mean(axis=1)
        for name, radius in (("near", NEAR), ("wide", WIDE))
    }
    for channel, image in zip(CHANNELS, pixels.swapaxes(0, 1), strict=True):
        five = image[:, _FIVE]
        top, low = image[:, _THREE].max(axis=1), five.min(axis=1)
        norm = np.sqrt((five * five).sum(axis=1))
        brightest = image.argmax(axis=1)
        found |= {
            f"{channel}_sharp": top / np.maximum(norm, LEAST_CORE),
            f"{channel}_low": low / np.maximum(top, LEAST_PEAK),
            f"{channel}_light": np.arcsinh(image[:, _within(CORE)].mean(axis=1) / core),
            f"{channel}_slope": np.arcsinh((five.max(axis=1) - low) / peak),
            f"{channel}_bright": np.log10(np.maximum(image.max(axis=1), LEAST_PEAK)),
            f"{channel}_far": _R[brightest],
        }
    matrix = np.column_stack([np.clip(found[name], -MOST, None) for name in SHAPES]).astype(np.float32)
    for number, channel in enumerate(CHANNELS):
        of_channel = np.array([name.startswith(f"{channel}_") for name in SHAPES])
        matrix[np.ix_(~is_known[:, number].any(axis=1), of_channel)] = np.nan
    matrix[~is_known[:, 2].any(axis=1)] = np.nan
    return matrix


def _of_difference(image: Floats, peak: Floats) -> dict[str, NDArray[np.floating]]:
    ring, nine = image[:, _RING], image[:, _NINE]
    inside = {radius: image[:, _within(radius)].sum(axis=1) for radius in (CORE, NEAR, LIGHT)}
    light = np.maximum(inside[NEAR], LEAST_PEAK)
    return {
        "rough": np.log10(np.sqrt((ring * ring).mean(axis=1)) + LEAST_CORE),
        "beside": ring.max(axis=1) / peak,
        "deep": image[:, _within(DEEP)].min(axis=1) / peak,
        "turned": (nine * nine[:, ::-1]).sum(axis=1) / np.maximum((nine * nine).sum(axis=1), LEAST_PEAK),
        "narrow": np.minimum(inside[CORE] / light, MOST),
        "wide": np.minimum(inside[LIGHT] / light, MOST),
    }


def _in_scatters(stamps: Floats) -> Floats:
    """Return the inner pixels (n, 3, side^2) of stamps in units of their scatter, levels taken off.

    That of a difference is none, and what a halo leaves there must stay.
    """
    n, middle = len(stamps), SIZE // 2
    some = stamps[:, :, STEP // 2 :: STEP, STEP // 2 :: STEP].reshape(n, N_CHANNELS, -1)
    level = medians(some)
    scatter = 1.4826 * medians(np.abs(some - level[:, :, None]))
    level[:, 2] = 0.0
    inner = slice(middle - HALF, middle + HALF + 1)
    pixels = stamps[:, :, inner, inner].reshape(n, N_CHANNELS, -1) - level[:, :, None]
    return np.asarray(pixels / np.maximum(scatter, LEAST_SCATTER)[:, :, None], np.float32)


def medians(values: Floats) -> Floats:
    """Return medians along the last axis of what is known; 0 of nothing."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(values).sum(axis=-1)
    places = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[-1] - 1)], axis=-1)
    middle = np.take_along_axis(ordered, places, axis=-1).mean(axis=-1)
    return np.where(count > 0, middle, 0.0).astype(np.float32)


def _within(radius: float) -> NDArray[np.intp]:
    return np.flatnonzero(radius >= _R)
