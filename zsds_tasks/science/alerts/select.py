"""Which candidates become alerts: the triggering criteria of reference section 7.1, as configuration.

Scores are attached, not applied: a consumer chooses its own purity. `PURE` is what ZTF recommends for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration

MAG_PER_RELATIVE_ERROR: Final = 2.5 / np.log(10)
"""1.0857: sigma of a magnitude times signal to noise."""

Positive = Annotated[float, Field(gt=0)]


class TriggerConfig(Declaration):
    """What a candidate must be to trigger an alert; borders belong to what is let through."""

    least_snr: Positive = Field(5.0, description="signal to noise of the PSF fit, 1.0857 / sigmapsf")
    faintest_mag: float = Field(23.5, description="magpsf")
    most_bad_px: int = Field(4, ge=0, description="nbad, flagged pixels of 25")
    widest_fwhm_px: Positive = Field(7.0, description="fwhm")
    most_elongated: float = Field(1.6, ge=1, description="elong")
    least_magdiff: float = Field(
        -0.4, description="aperture less PSF magnitude; later ZTF packets go to -0.67"
    )
    most_magdiff: float = Field(0.75, description="aperture less PSF magnitude; later ZTF packets go to 0.98")
    least_rb: float = Field(0.0, ge=0, le=1, description="feature score; one that has none passes at 0")


PURE: Final = TriggerConfig(
    least_rb=0.65, most_bad_px=0, widest_fwhm_px=5.0, most_elongated=1.2, least_magdiff=-0.1, most_magdiff=0.1
)
"""The filter ZTF recommends to consumers who want purity (section 7.1)."""


@dataclass(frozen=True)
class Selection:
    """Who triggers.

    Parameters
    ----------
    triggers : numpy.ndarray (n), bool
    reasons : tuple of str (n)
        Why not: the first criterion that failed; empty for those that trigger.
    refused : dict
        How many by reason, in the order of the criteria, those that refused none included.
    """

    triggers: NDArray[np.bool_]
    reasons: tuple[str, ...]
    refused: dict[str, int]


def select_alerts(candidates: pa.Table, config: TriggerConfig) -> Selection:
    """Hold candidates against the triggering criteria.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        With magpsf, sigmapsf, nbad, fwhm, elong, magdiff, rb.
    config : TriggerConfig

    Returns
    -------
    Selection
        A candidate that lacks a number a criterion needs is refused by it.
    """
    value = {
        name: candidates.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
        for name in ("magpsf", "sigmapsf", "nbad", "fwhm", "elong", "magdiff", "rb")
    }
    # float32 in tables: a border such as 1.6 is not a float32, and must not refuse its own nearest one.
    border = {name: np.float64(np.float32(getattr(config, name))) for name in TriggerConfig.model_fields}
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = MAG_PER_RELATIVE_ERROR / value["sigmapsf"]
        passes = {
            "snr": snr >= config.least_snr * (1 - 1e-6),
            "magpsf": value["magpsf"] <= border["faintest_mag"],
            "nbad": value["nbad"] <= config.most_bad_px,
            "fwhm": value["fwhm"] <= border["widest_fwhm_px"],
            "elong": value["elong"] <= border["most_elongated"],
            "magdiff": (value["magdiff"] >= border["least_magdiff"])
            & (value["magdiff"] <= border["most_magdiff"]),
            "rb": (value["rb"] >= border["least_rb"]) | (np.isnan(value["rb"]) & (config.least_rb == 0)),
        }
    failed = ~np.stack(list(passes.values()), axis=-1).reshape(candidates.num_rows, len(passes))
    triggers: NDArray[np.bool_] = np.logical_not(failed.any(axis=1))
    first = np.where(triggers, len(passes), failed.argmax(axis=1))
    names = (*passes, "")
    reasons = tuple(names[k] for k in first)
    refused = {name: int(np.count_nonzero(first == k)) for k, name in enumerate(passes)}
    return Selection(triggers, reasons, refused)
