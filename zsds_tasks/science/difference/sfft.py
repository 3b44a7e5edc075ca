"""A second engine, for comparison: kernel fitting in Fourier space by the package `sfft`, on the CPU.

Method: Hu et al. 2022, ApJ 936, 157. The package is no dependency of ours: it is imported when it is chosen.
Its matched reference takes the place of ours in the same scoring: where both images have one PSF, proper
subtraction is plain subtraction and a matched filter. So noise terms, holes and score are alike.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.pixels.subtraction import Buffers, Subtraction
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Doubles = NDArray[np.float64]
SIGMA_PER_MAD = 1.4826
SCORE_STEP = 5
_PLAIN = (1.0, 0.0, 0.0)


class SfftConfig(Declaration):
    """How the reference is matched to the science image, which must be the less sharp one."""

    kernel_half_px: Annotated[int, Field(ge=2, le=15)] = Field(7, description="half side of the kernel, px")
    kernel_order: Annotated[int, Field(ge=0, le=3)] = Field(
        1, description="degree of the kernel over the image; memory grows steeply: 13 GB at 1 for 3k x 3k"
    )
    background_order: Annotated[int, Field(ge=0, le=3)] = Field(0, description="of the background")
    star_sigma: Annotated[float, Field(gt=0)] = Field(
        10.0, description="pixels of the reference above, and those around, are fitted"
    )
    grow_px: Annotated[int, Field(ge=0)] = Field(5, description="so far around")
    threads: Annotated[int, Field(ge=1)] = Field(1, description="threads of its transforms")


def subtract_by_sfft(
    new: Frame,
    ref: Frame,
    mask: Mask,
    bits: int,
    registration: tuple[float, float],
    config: SfftConfig,
    scoring: ZogyConfig,
    buffers: Buffers | None = None,
) -> Subtraction:
    """Subtract a reference, matched by `sfft`; see `zsds_tasks.pixels.zogy.subtract_frames`.

    The score is divided by its robust scatter: the noise of a convolved reference is correlated.

    Raises
    ------
    ConfigurationError
        If the package is not installed, or the science image is to be scaled.
    """
    subtract, configure = _package()
    if new.scale != _PLAIN:
        raise ConfigurationError(
            "the engine sfft keeps the science image's own flux scale",
            subject="difference.units",
            remedy="choose units: science, or the engine zogy",
        )
    light, template = _whole(new), _whole(ref)
    holes = ~(np.isfinite(light) & np.isfinite(template)) | ((mask & np.uint16(bits)) != 0)
    light[holes], template[holes] = 0.0, 0.0
    fitted = _fitted(template, holes, ref, config)
    settings = {
        "KerHW": config.kernel_half_px,
        "KerPolyOrder": config.kernel_order,
        "BGPolyOrder": config.background_order,
        "BACKEND_4SUBTRACT": "Numpy",
        "NUM_CPU_THREADS_4SUBTRACT": config.threads,
        "VERBOSE_LEVEL": 0,
    }
    prepared = configure.SSC(*light.shape, **settings)
    run = {name: settings[name] for name in list(settings)[3:]}
    shown = (np.where(fitted, template, 0.0), np.where(fitted, light, 0.0))
    difference = subtract.GSS(template, light, *shown, prepared, **run)[1]
    matched = np.where(holes, np.nan, light - difference).astype(np.float32)
    science = Frame(np.where(holes, np.nan, light).astype(np.float32), new.noise, new.gain, new.psf)
    noise = replace(ref.noise, values=np.asarray(ref.noise.values * abs(ref.scale[0]), np.float32))
    reference = Frame(matched, noise, ref.gain / abs(ref.scale[0]), new.psf)
    found = subtract_frames(science, reference, mask, bits, registration, scoring, buffers)
    sample = found.score[::SCORE_STEP, ::SCORE_STEP]
    scatter = SIGMA_PER_MAD * float(np.nanmedian(np.abs(sample)))
    if scatter > 0:
        np.divide(found.score, np.float32(scatter), out=found.score)
    return found


def _package() -> tuple[Any, Any]:
    """Return the package's classes that subtract and configure, or say what to do."""
    try:
        subtract = importlib.import_module("sfft.sfftcore.SFFTSubtract").GeneralSFFTSubtract
        configure = importlib.import_module("sfft.sfftcore.SFFTConfigure").SingleSFFTConfigure
    except ImportError as error:
        raise ConfigurationError(
            "the engine sfft was chosen, but its package cannot be imported",
            subject="difference.engine.name",
            remedy="choose zogy, or install it beside the system: pip install sfft",
            cause=str(error),
        ) from error
    return subtract, configure


def _whole(frame: Frame) -> Doubles:
    """Return a frame scaled, without its level."""
    image = frame.image.astype(np.float64)
    if frame.level is not None:
        image -= frame.level.expand()
    ny, nx = image.shape
    u, v = (2 * np.arange(nx) + 1) / nx - 1, (2 * np.arange(ny) + 1) / ny - 1
    return image * (frame.scale[0] + frame.scale[1] * u + frame.scale[2] * v[:, None])


def _fitted(template: Doubles, holes: NDArray[np.bool_], ref: Frame, config: SfftConfig) -> NDArray[np.bool_]:
    """Return the pixels that the kernel is fitted to: sources, away from holes."""
    noise = float(np.median(ref.noise.values)) * abs(ref.scale[0])
    lit = ndimage.binary_dilation(template > config.star_sigma * noise, iterations=config.grow_px)
    return np.asarray(lit & ~ndimage.binary_dilation(holes, iterations=config.grow_px))
