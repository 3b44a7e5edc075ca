"""How sources are fitted with a PSF: the numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration


class PsfPhotometryConfig(Declaration):
    """How sources are fitted."""

    fit_fwhm: Annotated[float, Field(gt=0)] = Field(1.25, description="radius of the fit, in FWHM")
    least_fit_px: Annotated[int, Field(ge=1)] = Field(3, description="radius of the fit at least, px")
    link_fwhm: Annotated[float, Field(gt=0)] = Field(
        1.2, description="closer sources are fitted together, FWHM"
    )
    group_size: Annotated[int, Field(ge=1, le=40)] = Field(8, description="sources fitted together at most")
    first_sweeps: Annotated[int, Field(ge=1)] = Field(3, description="turns over all groups")
    second_sweeps: Annotated[int, Field(ge=1)] = Field(3, description="turns after new sources were found")
    settled_sigma: Annotated[float, Field(ge=0)] = Field(
        0.1, description="groups whose last step was smaller, in errors, take no further turns"
    )
    rough_sigma: Annotated[float, Field(ge=0)] = Field(
        0.5, description="the same before the sky and hidden sources are known: all are fitted again then"
    )
    drawn_share: Annotated[float, Field(gt=0)] = Field(
        0.05, description="sources are drawn out to where they fall below this share of the sky noise"
    )
    roam_fwhm: Annotated[float, Field(gt=0)] = Field(1.0, description="farthest from where detected, FWHM")
    least_pixels: Annotated[int, Field(ge=4)] = Field(8, description="usable pixels in the fit, at least")
    least_snr: Annotated[float, Field(ge=0)] = Field(3.0, description="flux over its error, at least")
    separation_fwhm: Annotated[float, Field(ge=0)] = Field(
        0.5, description="of two sources closer than this, in FWHM, the fainter is dropped"
    )
    exact_snr: Annotated[float, Field(gt=0)] = Field(
        100.0, description="brighter sources get the PSF of their own place, others that of a cell of 128 px"
    )
    exact_most: Annotated[int, Field(ge=0)] = Field(
        2000, description="sources with a PSF of their own, at most"
    )
    model_error: Annotated[float, Field(ge=0)] = Field(
        0.03, description="share of the model's light that is noise for detection on the residual image"
    )
    sky_cell_px: Annotated[int, Field(ge=0)] = Field(
        128, description="mesh of the sky that is left after the first pass, px; 0: none"
    )
    sky_again_share: Annotated[float, Field(ge=0)] = Field(
        0.1,
        description="share of the noise that the sky must still be off by after the second pass to repeat it",
    )
    crowded_neighbours: Annotated[float, Field(ge=0)] = Field(
        0.1,
        description="chance neighbours within 1.5 FWHM from which on a wide source is rather a blend",
    )
    fragment_chi: Annotated[float, Field(ge=0)] = Field(
        1.3, description="sources revealed beside brighter ones that fit worse, and are wide, are dropped"
    )
    fragment_sharp: Annotated[float, Field(ge=0)] = Field(
        0.15, description="the same: wide means an excess variance above this share of the PSF's"
    )
    beyond_error: Annotated[float, Field(ge=0)] = Field(
        2.0,
        description="the same beyond the stamp, where no star is subtracted; share of its extrapolated PSF",
    )
    wing_floor: Annotated[float, Field(ge=0)] = Field(
        1e-5,
        description="least PSF, per pixel, that a saturated star has at the stamp's edge: scattered light",
    )
    hidden_error: Annotated[float, Field(ge=0)] = Field(
        0.1, description="share by which the wings of a saturated star may be off: what is fainter is dropped"
    )
    flux_error_share: Annotated[float, Field(ge=0)] = Field(
        0.0012,
        description="error of the PSF itself, as a share of the flux; added to flux errors in quadrature",
    )
    position_error_px: Annotated[float, Field(ge=0)] = Field(
        0.001, description="the same of positions, per axis, px"
    )
