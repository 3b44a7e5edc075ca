"""Cosmic rays: straight tracks of muons through the silicon and crooked ones of electrons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.simulator.instrument.render import Image
from zsds_tasks.simulator.products import Floats

STEP_PX = 0.25


class CosmicRayConfig(Declaration):
    """How many there are and what they leave."""

    rate_per_cm2_min: Annotated[float, Field(ge=0)] = 3.0
    pixel_um: Annotated[float, Field(gt=0)] = 15.0
    thickness_um: Annotated[float, Field(gt=0)] = Field(40.0, description="of the sensitive silicon")
    electrons_per_um: Annotated[float, Field(gt=0)] = Field(80.0, description="left by a muon, most probable")
    crooked_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2, description="tracks of low-energy electrons"
    )
    diffusion_px: Annotated[float, Field(ge=0)] = 0.3


@dataclass(frozen=True)
class Tracks:
    """Cosmic rays of one CCD: arrays (N); positions are 0-based (column, row) where each enters."""

    x: Floats
    y: Floats
    angle: Floats
    length_px: Floats
    electrons: Floats
    bend: Floats


def draw_tracks(
    rng: np.random.Generator, config: CosmicRayConfig, size: tuple[int, int], seconds: float
) -> Tracks:
    """Draw the tracks that hit a CCD of `size` (rows, columns) in some seconds."""
    area_cm2 = size[0] * size[1] * (config.pixel_um * 1e-4) ** 2
    n = int(rng.poisson(config.rate_per_cm2_min * area_cm2 * seconds / 60))
    y, x = rng.uniform(-0.5, size[0] - 0.5, n), rng.uniform(-0.5, size[1] - 0.5, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    # Muons: intensity cos^2 of the zenith angle through a horizontal plate, so cos^4 is uniform.
    cosine = np.maximum(rng.random(n) ** 0.25, 0.05)
    path_um = config.thickness_um / cosine
    length = config.thickness_um * np.sqrt(1 / cosine**2 - 1) / config.pixel_um
    is_crooked = rng.random(n) < config.crooked_share
    length = np.where(is_crooked, rng.exponential(15.0, n) + 3, length)
    path_um = np.where(is_crooked, length * config.pixel_um * 1.3, path_um)
    # A Landau-like tail by a lognormal.
    electrons = path_um * config.electrons_per_um * np.exp(0.35 * np.abs(rng.standard_normal(n)))
    bend = np.where(is_crooked, 0.35, 0.0)
    return Tracks(x, y, angle, length, electrons, bend)


def add_tracks(image: Image, tracks: Tracks, rng: np.random.Generator, config: CosmicRayConfig) -> None:
    """Deposit the tracks' charge in electrons on an image, in place."""
    steps = np.maximum(np.ceil(tracks.length_px / STEP_PX).astype(np.int64), 4)
    normal = rng.standard_normal((int(steps.sum()), 3))
    table = np.column_stack(
        [tracks.x, tracks.y, tracks.angle, tracks.length_px, tracks.electrons, tracks.bend]
    )
    _deposit(image, np.ascontiguousarray(table), steps, normal, config.diffusion_px)


@compiled("void(f4[:, ::1], f8[:, ::1], i8[::1], f8[:, ::1], f8)", cache=True)
def _deposit(image: Image, table: Floats, steps: Floats, normal: Floats, diffusion: float) -> None:
    used = 0
    for i in range(table.shape[0]):
        x, y, angle = table[i, 0], table[i, 1], table[i, 2]
        stride, charge = table[i, 3] / steps[i], table[i, 4] / steps[i]
        for _ in range(steps[i]):
            angle += table[i, 5] * normal[used, 2]
            x += stride * np.cos(angle)
            y += stride * np.sin(angle)
            column = int(np.rint(x + diffusion * normal[used, 0]))
            row = int(np.rint(y + diffusion * normal[used, 1]))
            used += 1
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                image[row, column] += np.float32(charge)
