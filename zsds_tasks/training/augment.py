"""Triplets turned, moved, blurred, made noisier and cut: what a model must not mind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from zsds_tasks.training.configuration import NetworkConfig

Floats = NDArray[np.float32]
BLUR_PX = (0.3, 0.8)
HOLE_PX = (1, 4)
EDGE_PX = (1, 20)
MIDDLE_PX = 4


def augmented(
    stamps: NDArray[np.floating], config: NetworkConfig, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return a changed copy of triplets (n, 3, ny, nx), NaN where nothing is.

    Each is flipped and turned by right angles and moved by whole pixels, all channels alike. Noise is added
    in units of each stamp's own scatter. Some are blurred (a wider PSF), some get an edge or small holes away
    from the middle.
    """
    out = np.array(stamps, np.float32)
    for triplet in out:
        moved = _turned(triplet, random)
        shift = tuple(int(k) for k in random.integers(-config.shift_px, config.shift_px + 1, 2))
        moved = np.roll(moved, shift, axis=(1, 2))
        known = np.isfinite(moved)
        if random.random() < config.blur_share:
            width = random.uniform(*BLUR_PX)
            moved = gaussian_filter(np.where(known, moved, 0.0), (0, width, width))
        for channel, there in zip(moved, known, strict=True):
            # Half of the amplitudes are small: most triplets stay about as deep as they were.
            amplitude = config.noise * random.random() ** 2 * _scatter(channel[there])
            noise = random.normal(0.0, 1.0, channel.shape).astype(np.float32)
            np.add(channel, noise * amplitude, out=channel)
            channel[~there] = np.nan
        if random.random() < config.hole_share:
            _cut(moved, random)
        triplet[:] = moved
    return out


def _turned(triplet: Floats, random: np.random.Generator) -> Floats:
    turned = np.rot90(triplet, int(random.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if random.random() < 0.5 else turned)


def _scatter(values: Floats) -> float:
    if not values.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _cut(triplet: Floats, random: np.random.Generator) -> None:
    """Cut an edge off all channels, or a few small holes, never in the middle."""
    size = triplet.shape[-1]
    if random.random() < 0.5:
        triplet[:, : int(random.integers(*EDGE_PX))] = np.nan
        return
    for _ in range(int(random.integers(1, 6))):
        row, column = random.integers(0, size, 2)
        side = int(random.integers(*HOLE_PX))
        if max(abs(row - size // 2), abs(column - size // 2)) > MIDDLE_PX + side:
            triplet[:, row : row + side, column : column + side] = np.nan
