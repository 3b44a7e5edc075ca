"""Master bias and high-frequency flat of one readout channel from a night (reference 3.2 and 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.calibration.detrend import detrend
from zsds_tasks.science.calibration.overscan import Overscan, OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.robust import robust_sigma, sampled_median
from zsds_tasks.science.calibration.smooth import SmoothConfig, Smoother
from zsds_tasks.science.calibration.stacking import Stack, clipped_mean

Image = NDArray[np.float32]
Positive = Annotated[float, Field(gt=0)]
MIN_NOISE_DN = 0.3  # rounding alone: a frame without any scatter would make every sample an outlier


class BiasConfig(Declaration):
    """How bias frames are averaged."""

    max_offset_dn: Positive = Field(
        1.0, description="frames whose median lies further from the set's are out"
    )
    clip_sigma: Positive = Field(3.0, description="samples further off the median of their pixel are out")
    max_frames: Annotated[int, Field(ge=2, le=255)] = Field(
        24, description="see `spread_frames`: bounds memory"
    )


class FlatConfig(Declaration):
    """How LED flats become a high-frequency flat."""

    min_level_dn: Positive = Field(2000.0, description="fainter frames are out")
    max_level_dn: Positive = Field(45000.0, description="brighter frames are out")
    clip_sigma: Positive = Field(3.0, description="samples further off the median of their pixel are out")
    max_frames: Annotated[int, Field(ge=2, le=255)] = Field(
        24, description="see `spread_frames`: bounds memory"
    )
    smooth: SmoothConfig = SmoothConfig()
    led_weights: dict[int, Positive] = Field(
        default_factory=dict, description="weight of an LED in its filter; those not named have 1"
    )


@dataclass(frozen=True)
class Readout:
    """One raw frame of the channel.

    Parameters
    ----------
    name : str
        What messages call it.
    image, overscan : numpy.ndarray (ny, nx) and (ny, n_overscan), uint16, DN
        As stored.
    led : int
        LED of a flat; 0 for none.
    """

    name: str
    image: NDArray[np.uint16]
    overscan: NDArray[np.uint16]
    led: int = 0


@dataclass(frozen=True)
class ChannelFacts:
    """What has to be known of the channel.

    Parameters
    ----------
    read_x : int
        1 if columns are stored in reading order, -1 if mirrored.
    gain : float
        Electrons per DN.
    saturation : float
        DN.
    linearity : (a, b)
        See `detrend`.
    """

    read_x: int
    gain: float
    saturation: float
    linearity: tuple[float, float]


@dataclass(frozen=True)
class Master:
    """A master frame and how it came about.

    Parameters
    ----------
    image, uncertainty : numpy.ndarray (ny, nx), float32
        DN (bias) or relative response (flat).
    excess : numpy.ndarray (ny, nx), float32
        Scatter of the samples over the expected one; see `Stack`.
    is_constant : numpy.ndarray (ny, nx), bool
        Pixels that read the same in every frame.
    used : tuple of str
        Names of the frames in it.
    rejected : tuple of (name, reason)
        Those left out.
    level : float
        Median of the frames used, DN.
    frame_noise : float
        Median expected noise of a frame, in the master's unit.
    """

    image: Image
    uncertainty: Image
    excess: Image
    is_constant: NDArray[np.bool_]
    used: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...]
    level: float
    frame_noise: float

    @property
    def scatter(self) -> float:
        """Robust scatter of the master over its pixels."""
        return robust_sigma(self.image)

    @property
    def noise(self) -> float:
        """Median uncertainty of a pixel."""
        return sampled_median(self.uncertainty)


def build_bias(
    readouts: Sequence[Readout], channel: ChannelFacts, overscan: OverscanConfig, config: BiasConfig
) -> Master | None:
    """Average overscan-subtracted bias frames.

    Parameters
    ----------
    readouts : sequence of Readout
        Bias frames of one channel, all of one shape.
    channel : ChannelFacts
    overscan : OverscanConfig
    config : BiasConfig

    Returns
    -------
    Master or None
        None if no frame is left.
    """
    chosen = list(readouts)
    if not chosen:
        return None
    levels = [fit_overscan(r.overscan, channel.read_x, overscan) for r in chosen]
    frames = np.empty((len(chosen), *chosen[0].image.shape), np.float32)
    for frame, readout, level in zip(frames, chosen, levels, strict=True):
        detrend(readout.image, level.level, out=frame)
    medians = np.array([sampled_median(frame) for frame in frames])
    off = medians - np.median(medians)
    good = np.abs(off) <= config.max_offset_dn
    rejected = [
        (r.name, f"its median lies {d:+.2f} DN from the set's, {config.max_offset_dn:g} are allowed")
        for r, d, keep in zip(chosen, off, good, strict=True)
        if not keep
    ]
    if not good.any():
        return None
    noise = np.array([max(level.noise, MIN_NOISE_DN) for level in levels])
    kept = [r for r, keep in zip(chosen, good, strict=True) if keep]
    stack = clipped_mean(frames if good.all() else frames[good], noise[good], clip_sigma=config.clip_sigma)
    return _master(stack, kept, rejected, float(np.median(medians[good])), float(np.median(noise[good])))


def build_flat(
    readouts: Sequence[Readout],
    channel: ChannelFacts,
    bias: Image,
    overscan: OverscanConfig,
    config: FlatConfig,
) -> Master | None:
    """Make the high-frequency flat of one filter: pixel response over its own smooth run, median 1.

    Each frame is divided by its own smooth surface, so that lamps of different pattern and strength can be
    clipped against each other even where an LED has two frames. Inside an LED frames weigh by their light,
    LEDs weigh as configured.

    Parameters
    ----------
    readouts : sequence of Readout
        LED flats of one channel and filter, all of one shape.
    channel : ChannelFacts
    bias : numpy.ndarray (ny, nx), float32
        Master bias, DN.
    overscan : OverscanConfig
    config : FlatConfig

    Returns
    -------
    Master or None
        None if no frame is left.
    """
    chosen = list(readouts)
    if not chosen:
        return None
    smoother = Smoother(bias.shape, config.smooth)
    frames = np.empty((len(chosen), *bias.shape), np.float32)
    kept: list[Readout] = []
    rejected: list[tuple[str, str]] = []
    signal, noise = [], []
    for readout in chosen:
        model, frame = fit_overscan(readout.overscan, channel.read_x, overscan), frames[len(kept)]
        detrend(
            readout.image,
            model.level,
            linearity=channel.linearity,
            saturation=channel.saturation,
            bias=bias,
            out=frame,
        )
        cells = smoother.cells(frame)
        level = float(np.nanmedian(cells)) if np.isfinite(cells).any() else channel.saturation
        if not config.min_level_dn <= level <= config.max_level_dn:
            limits = f"{config.min_level_dn:g} to {config.max_level_dn:g} are used"
            rejected.append((readout.name, f"its level is {level:.0f} DN, {limits}"))
            continue
        frame /= smoother.smooth(cells)
        kept.append(readout)
        signal.append(level)
        noise.append(_flat_noise(level, model, channel))
    if not kept:
        return None
    weight = _weights([r.led for r in kept], signal, config.led_weights)
    stack = clipped_mean(frames[: len(kept)], np.array(noise), weight=weight, clip_sigma=config.clip_sigma)
    middle = np.float32(sampled_median(stack.mean))
    stack.mean[...] /= middle
    stack.uncertainty[...] /= middle
    return _master(stack, kept, rejected, float(np.median(signal)), float(np.median(noise)))


def spread_frames(leds: Sequence[int], count: int) -> list[int]:
    """Return the places of at most so many frames, as evenly from all LEDs as they allow, in order of time.

    Parameters
    ----------
    leds : sequence of int
        LED of each frame, in order of time.
    count : int

    Returns
    -------
    list of int
    """
    turn = [list(leds[:place]).count(led) for place, led in enumerate(leds)]
    return sorted(sorted(range(len(leds)), key=lambda place: (turn[place], place))[:count])


def _flat_noise(level: float, overscan: Overscan, channel: ChannelFacts) -> float:
    """Relative noise of a pixel from photons and reading."""
    return float(np.sqrt(level / channel.gain + max(overscan.noise, MIN_NOISE_DN) ** 2) / level)


def _weights(
    leds: Sequence[int], signal: Sequence[float], led_weights: Mapping[int, float]
) -> NDArray[np.float64]:
    light: dict[int, float] = {}
    for led, level in zip(leds, signal, strict=True):
        light[led] = light.get(led, 0.0) + level
    return np.array([led_weights.get(k, 1.0) * s / light[k] for k, s in zip(leds, signal, strict=True)])


def _master(
    stack: Stack,
    used: Sequence[Readout],
    rejected: Sequence[tuple[str, str]],
    level: float,
    frame_noise: float,
) -> Master:
    is_constant = np.ones(stack.mean.shape, np.bool_)
    for readout in used[1:]:
        is_constant &= readout.image == used[0].image
    return Master(
        stack.mean,
        stack.uncertainty,
        stack.excess,
        is_constant,
        tuple(r.name for r in used),
        tuple(rejected),
        level,
        frame_noise,
    )
