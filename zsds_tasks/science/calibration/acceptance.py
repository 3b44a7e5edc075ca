"""May a master be used? Counted, measured and compared with the one before; a refusal says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.masks import UNUSABLE
from zsds_tasks.science.calibration.masters import Image, Master
from zsds_tasks.science.calibration.robust import robust_sigma, sampled_median

Positive = Annotated[float, Field(gt=0)]


class FrameLimits(Declaration):
    """What a master bias or flat must satisfy; in its own unit (DN, relative response)."""

    min_frames: Annotated[int, Field(ge=1)]
    max_noise: Positive = Field(description="median uncertainty of a pixel")
    max_offset: Positive = Field(description="median change since the last accepted one")
    max_change: Positive = Field(description="scatter of the change beyond what both uncertainties explain")


class MaskLimits(Declaration):
    """What a static mask must satisfy."""

    max_bad_fraction: Positive = Field(0.05, description="of all pixels")
    max_change: Positive = Field(0.01, description="pixels that differ from the last accepted mask, of all")


class MapLimits(Declaration):
    """What a smooth map must satisfy; in its own unit (seconds of a shutter, relative response)."""

    max_noise: Positive = Field(description="uncertainty, median over the cells")
    max_offset: Positive = Field(description="median change since the last accepted one")
    max_change: Positive = Field(description="scatter of the change beyond what both uncertainties explain")


class AcceptanceConfig(Declaration):
    """Limits by kind of master."""

    bias: FrameLimits = FrameLimits(min_frames=7, max_noise=1.5, max_offset=1.0, max_change=1.0)
    flat: FrameLimits = FrameLimits(min_frames=6, max_noise=0.01, max_offset=0.005, max_change=0.005)
    mask: MaskLimits = MaskLimits()


@dataclass(frozen=True)
class Verdict:
    """Whether a master may be used.

    Parameters
    ----------
    accepted : bool
    reason : str
        In words: every limit that is broken, or what was compared.
    offset, change : float or None
        Since the last accepted master; None without one. `change` is a fraction of pixels for masks.
    """

    accepted: bool
    reason: str
    offset: float | None = None
    change: float | None = None


def judge_frame(
    master: Master | None, limits: FrameLimits, previous: tuple[Image, Image] | None = None
) -> Verdict:
    """Judge a master bias or flat.

    Parameters
    ----------
    master : Master or None
        None: no frame was left to make one.
    limits : FrameLimits
    previous : (image, uncertainty), optional
        Last accepted master of the same channel and filter, each (ny, nx) float32.

    Returns
    -------
    Verdict
    """
    if master is None:
        return Verdict(False, f"too few frames: none of the {limits.min_frames} needed")
    faults = []
    if len(master.used) < limits.min_frames:
        faults.append(f"too few frames: {len(master.used)} of the {limits.min_frames} needed")
    noise = master.noise
    # Written so that a NaN fails: one frame has no uncertainty.
    if not noise <= limits.max_noise:
        faults.append(f"noise: uncertainty {noise:.3g} over the limit {limits.max_noise:g}")
    offset, change = change_since(master, previous) if previous else (None, None)
    if offset is not None and not abs(offset) <= limits.max_offset:
        faults.append(f"change: median {offset:+.3g} since the last, {limits.max_offset:g} allowed")
    if change is not None and not change <= limits.max_change:
        faults.append(f"change: scatter {change:.3g} since the last, {limits.max_change:g} allowed")
    compared = "as the last one" if previous else "first of its kind"
    return Verdict(not faults, "; ".join(faults) or compared, offset, change)


def change_since(master: Master, previous: tuple[Image, Image]) -> tuple[float, float]:
    """Return the median change since an earlier master, and its scatter beyond both uncertainties."""
    image, uncertainty = previous
    difference = master.image - image
    expected = sampled_median(master.uncertainty**2 + uncertainty**2)
    scatter = robust_sigma(difference) ** 2 - expected
    return sampled_median(difference), float(np.sqrt(max(scatter, 0.0)))


def judge_map(
    values: NDArray[np.floating],
    error: NDArray[np.floating],
    limits: MapLimits,
    previous: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
) -> Verdict:
    """Judge a smooth map.

    Parameters
    ----------
    values, error : numpy.ndarray (my, mx)
        The map and its uncertainty.
    limits : MapLimits
    previous : (values, error), optional
        Last accepted map of the same kind, channel and filter; one of other cells is not compared.

    Returns
    -------
    Verdict
    """
    faults, offset, change = [], None, None
    noise = float(np.median(error))
    if not np.isfinite(values).all():
        faults.append("cells without a number")
    if not noise <= limits.max_noise:
        faults.append(f"noise: uncertainty {noise:.3g} over the limit {limits.max_noise:g}")
    compared = "first of its kind"
    if previous is not None and previous[0].shape == values.shape:
        compared = "as the last one"
        difference = np.asarray(values - previous[0], np.float64)
        offset = float(np.median(difference))
        expected = float(np.median(error**2 + previous[1] ** 2))
        change = float(np.sqrt(max(float(np.mean((difference - offset) ** 2)) - expected, 0.0)))
        uncertain = float(np.sqrt(expected))
        if not abs(offset) <= limits.max_offset + uncertain:
            faults.append(f"change: median {offset:+.3g} since the last, {limits.max_offset:g} allowed")
        if not change <= limits.max_change:
            faults.append(f"change: scatter {change:.3g} since the last, {limits.max_change:g} allowed")
    return Verdict(not faults, "; ".join(faults) or compared, offset, change)


def judge_mask(
    mask: NDArray[np.uint16], limits: MaskLimits, previous: NDArray[np.uint16] | None = None
) -> Verdict:
    """Judge a static mask, by the pixels that are unusable in it.

    Parameters
    ----------
    mask : numpy.ndarray (ny, nx), uint16
    limits : MaskLimits
    previous : numpy.ndarray (ny, nx), uint16, optional
        Last accepted mask of the channel.

    Returns
    -------
    Verdict
    """
    bad = (mask & UNUSABLE) > 0
    fraction, faults, change = float(bad.mean()), [], None
    if fraction > limits.max_bad_fraction:
        faults.append(f"bad pixels: {fraction:.3%}, {limits.max_bad_fraction:.3%} allowed")
    if previous is not None:
        change = float((bad != ((previous & UNUSABLE) > 0)).mean())
        if change > limits.max_change:
            faults.append(
                f"change: {change:.3%} of the pixels since the last, {limits.max_change:.3%} allowed"
            )
    compared = "first of its kind" if previous is None else "as the last one"
    return Verdict(not faults, "; ".join(faults) or compared, None, change)
