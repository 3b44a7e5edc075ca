"""The ways to subtract, behind one face; which one is configuration (reference section 6.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.subtraction import Buffers, Subtraction
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames
from zsds_tasks.science.difference.sfft import SfftConfig, subtract_by_sfft

Mask = NDArray[np.uint16]


class EngineConfig(Declaration):
    """Which engine subtracts, with the settings of each."""

    name: Literal["zogy", "sfft"] = Field(
        "zogy", description="zogy: proper subtraction; sfft: kernel fitting by the package of that name"
    )
    zogy: ZogyConfig = Field(ZogyConfig(), description="of the engine zogy")
    sfft: SfftConfig = Field(SfftConfig(), description="of the engine sfft")


class Engine(Protocol):
    """Subtracts a reference from a new frame; both have one background and one flux scale."""

    def __call__(
        self,
        new: Frame,
        ref: Frame,
        mask: Mask,
        bits: int,
        registration: tuple[float, float],
        buffers: Buffers | None = None,
    ) -> Subtraction:
        """Return the difference; see `zsds_tasks.pixels.zogy.subtract_frames`."""


def engine_of(config: EngineConfig) -> Engine:
    """Return the engine that is configured.

    Raises
    ------
    ConfigurationError
        When it is called, if its package is not installed.
    """
    engines: dict[str, Callable[[], Engine]] = {
        "zogy": lambda: _zogy(config.zogy),
        "sfft": lambda: _sfft(config.sfft, config.zogy),
    }
    return engines[config.name]()


def _zogy(config: ZogyConfig) -> Engine:
    def subtract(
        new: Frame,
        ref: Frame,
        mask: Mask,
        bits: int,
        registration: tuple[float, float],
        buffers: Buffers | None = None,
    ) -> Subtraction:
        return subtract_frames(new, ref, mask, bits, registration, config, buffers)

    return subtract


def _sfft(config: SfftConfig, scoring: ZogyConfig) -> Engine:
    def subtract(
        new: Frame,
        ref: Frame,
        mask: Mask,
        bits: int,
        registration: tuple[float, float],
        buffers: Buffers | None = None,
    ) -> Subtraction:
        return subtract_by_sfft(new, ref, mask, bits, registration, config, scoring, buffers)

    return subtract
