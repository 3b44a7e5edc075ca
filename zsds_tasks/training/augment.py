"""Triplets turned, moved, blurred, made noisier and cut: what a model must not mind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.science.realbogus.shapes import medians
from zsds_tasks.training.configuration import NetworkConfig

Floats = NDArray[np.float32]
BLUR_PX = (0.3, 0.8)
HOLE_PX = (1, 4)
EDGE_PX = (1, 20)
MIDDLE_PX = 4
TURNS = 8
STEP = 3
"""Every so many pixels tell the scatter of a stamp."""


def augmented(
    stamps: NDArray[np.floating], config: NetworkConfig, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return a changed copy of triplets (n, 3, ny, nx), NaN where nothing is.

    Each is flipped and turned by right angles and moved by whole pixels, all channels alike. Noise is added
    in units of each stamp's own scatter. Some are blurred (a wider PSF), some get an edge or small holes away
    from the middle.
    """
    out = np.array(stamps, np.float32)
    _turn(out, random)
    _move(out, config.shift_px, random)
    known = np.isfinite(out)
    # Half of the amplitudes are small: most triplets stay about as deep as they were.
    amplitude = config.noise * random.random(out.shape[:2]) ** 2 * _scatters(out)
    blurred = np.flatnonzero(random.random(len(out)) < config.blur_share)
    out[blurred] = _blurred(np.where(known[blurred], out[blurred], np.float32(0)), random)
    noise = random.standard_normal(out.shape, np.float32)
    out += noise * amplitude[:, :, None, None].astype(np.float32)
    out[~known] = np.nan
    for row in np.flatnonzero(random.random(len(out)) < config.hole_share):
        _cut(out[row], random)
    return out


def _turn(out: Floats, random: np.random.Generator) -> None:
    turn = random.integers(0, TURNS, len(out))
    for k in range(1, TURNS):
        turned = np.rot90(out[turn == k], k % 4, axes=(2, 3))
        out[turn == k] = turned[..., ::-1] if k >= TURNS // 2 else turned


def _move(out: Floats, most: int, random: np.random.Generator) -> None:
    shifts = random.integers(-most, most + 1, (len(out), 2))
    for shift in np.unique(shifts, axis=0):
        rows = (shifts == shift).all(axis=1)
        out[rows] = np.roll(out[rows], tuple(int(k) for k in shift), axis=(2, 3))


def _scatters(stamps: Floats) -> Floats:
    """Return 1.4826 MAD (n, 3) of stamps; 0 of nothing."""
    some = stamps[:, :, STEP // 2 :: STEP, STEP // 2 :: STEP].reshape(*stamps.shape[:2], -1)
    return np.asarray(1.4826 * medians(np.abs(some - medians(some)[:, :, None])), np.float32)


def _blurred(stamps: Floats, random: np.random.Generator) -> Floats:
    """Return stamps under three pixels of weights that have the second moment of a Gaussian, both ways."""
    side = (random.uniform(*BLUR_PX, (len(stamps), 1, 1, 1)) ** 2 / 2).astype(np.float32)
    for axis in (2, 3):
        beside = np.roll(stamps, 1, axis) + np.roll(stamps, -1, axis)
        stamps = (1 - 2 * side) * stamps + side * beside
    return stamps


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
