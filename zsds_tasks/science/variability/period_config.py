"""What a period search may be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration

Positive = Annotated[float, Field(gt=0)]
SUREST_FALSE_ALARM = -2.0
"""Periods whose logarithm of the false-alarm chance is above may be noise, and nothing is folded."""


class PeriodConfig(Declaration):
    """Limits and steps of the search for periods."""

    least_epochs: int = Field(
        default=30, ge=10, description="Good epochs, all bands together, to search at all."
    )
    least_per_band: int = Field(default=8, ge=2, description="Good epochs for a band to take part.")
    shortest_days: Positive = Field(default=0.1, description="Shortest period of a Fourier series.")
    shortest_eclipsing_days: Positive = Field(
        default=0.2, description="Shortest period of an eclipsing binary."
    )
    longest_share: Positive = Field(default=1.0, description="Longest period, of the time base.")
    scan_harmonics: int = Field(default=3, ge=1, le=8, description="Harmonics of the first scan.")
    scan_oversampling: Positive = Field(default=8.0, description="Frequencies of the first scan per 1/T.")
    dips_oversampling: Positive = Field(default=16.0, description="Of the search for dips.")
    peaks: int = Field(default=40, ge=1, description="Peaks of each scan that are fitted.")
    finalists: int = Field(default=4, ge=1, description="Fits whose aliases, halves and doubles are tried.")
    harmonics: tuple[int, ...] = Field(default=(1, 2, 3, 4, 6, 8), description="Of the fits that compete.")
    error_floor: float = Field(default=0.005, ge=0, description="Mag, added to errors in quadrature.")
    alias_days: tuple[float, ...] = Field(
        default=(1.0, 0.99726957, 29.530589),
        description="Rhythms of the ground: periods equal to one, its half or third are suspect.",
    )
    alias_penalty: float = Field(
        default=20.0, ge=0, description="What such a period must be better by, in the criterion of fits."
    )
    alias_margin: float = Field(
        default=20.0,
        ge=0,
        description="Other periods whose score is less far below are told: odds of exp(half of it) to one.",
    )
    double_margin: float = Field(
        default=10.0,
        ge=0,
        description="Dips of a period and of its double that score closer are told by width too.",
    )
    even_dip: Positive = Field(
        default=0.03,
        description="Standard deviation in phase of a lone dip that is as likely to be two of a binary.",
    )
    series_margin: float = Field(
        default=0.15,
        ge=0,
        description="Share of its score by which a Fourier series must beat half its period.",
    )
    achromatic: Positive = Field(
        default=0.12, description="Relative amplitudes of all bands within it, errors and all: a binary."
    )
    chromatic: Positive = Field(
        default=0.25, description="Relative amplitudes of bands over it apart, errors and all: no eclipses."
    )
    wide_dip: Positive = Field(
        default=0.06, description="Standard deviation in phase of dips that may be a wave of half the period."
    )
    contact_days: Positive = Field(
        default=0.5, description="Below it a series that is the same in all bands is half a binary's period."
    )
    eclipse_share: Positive = Field(
        default=0.85,
        description="Dips with so much of a Fourier series' score are eclipses: many harmonics fit all.",
    )
