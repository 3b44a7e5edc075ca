"""Which epochs of a channel, field and filter make its reference, and why the others do not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.reference.config import ReplacementConfig, SelectionConfig


@dataclass(frozen=True)
class Candidate:
    """One calibrated epoch; what is not known is NaN.

    Parameters
    ----------
    pid : int
        Product.
    night : str
    status, infobits : int
        As in science_images.
    fwhm_arcsec : float
        Of the PSF.
    maglimit : float
        5 sigma for a point source: the epoch's effective depth, from its FWHM, noise and zero point.
    zero_point : float
        Reduced to one exposure time for all.
    background : float
        Sky level per second, or in any unit that is the same for all.
    airmass : float
    astrometric_rms_arcsec : float
        Per axis, the larger.
    """

    pid: int
    night: str
    status: int
    infobits: int
    fwhm_arcsec: float
    maglimit: float
    zero_point: float
    background: float
    airmass: float
    astrometric_rms_arcsec: float


@dataclass(frozen=True)
class Strength:
    """How good a reference is, from the epochs it is made of; compares references before they are built.

    Parameters
    ----------
    depth : float
        Expected 5 sigma limit for a point source, mag.
    fwhm_arcsec : float
        Expected.
    n_frames : int
    """

    depth: float
    fwhm_arcsec: float
    n_frames: int


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Parameters
    ----------
    chosen : tuple of int
        Products, the deepest first.
    refused : dict of int to str
        Reason by product.
    shortfall : str
        Why the chosen ones make no reference; empty if they do.
    strength : Strength
        Of the chosen.
    """

    chosen: tuple[int, ...]
    refused: dict[int, str]
    shortfall: str
    strength: Strength

    @property
    def is_enough(self) -> bool:
        """Whether a reference can be built."""
        return not self.shortfall


def select_epochs(candidates: Sequence[Candidate], config: SelectionConfig | None = None) -> Selection:
    """Choose the epochs of a reference (reference section 5).

    Quantiles, the median depth and the best zero point are those of the epochs with status 1, infobits 0 and
    all numbers known. Ties are broken by product number, so the order of the candidates does not matter.

    Parameters
    ----------
    candidates : sequence of Candidate
        Of one channel, field and filter; each product once.
    config : SelectionConfig, optional

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If a product comes twice.
    """
    config = config or SelectionConfig()
    doubled = [pid for pid, n in Counter(c.pid for c in candidates).items() if n > 1]
    if doubled:
        raise ValueError(f"products {doubled} come more than once")
    refused = {c.pid: reason for c in candidates if (reason := _unfit(c))}
    fit = [c for c in candidates if c.pid not in refused]
    standards = _Standards.of(fit, config)
    absolute = {c.pid: "; ".join(standards.faults(c)) for c in fit}
    relative = {c.pid: "; ".join(standards.preferences(c)) for c in fit}
    wanted = sorted((c for c in fit if not absolute[c.pid]), key=_by_depth)
    chosen = _limited([c for c in wanted if not relative[c.pid]], config)
    if config.readmit and _shortfall(chosen, config):
        chosen = _readmitted(wanted, relative, config)
    taken = {c.pid for c in chosen}
    for c in fit:
        if c.pid not in taken:
            reasons = filter(None, (absolute[c.pid], relative[c.pid]))
            refused[c.pid] = "; ".join(reasons) or _left_over(c, chosen, config)
    return Selection(tuple(c.pid for c in chosen), refused, _shortfall(chosen, config), strength_of(chosen))


def strength_of(epochs: Sequence[Candidate]) -> Strength:
    """Return what a stack of epochs is expected to reach.

    Weighted by depth, squares of signal-to-noise add: 1.25 log10(sum 10^(0.8 m)). The FWHM is the mean with
    the same weights.
    """
    if not epochs:
        return Strength(math.nan, math.nan, 0)
    power = np.array([10 ** (0.8 * c.maglimit) for c in epochs])
    fwhm = np.array([c.fwhm_arcsec for c in epochs])
    depth = 1.25 * math.log10(power.sum())
    return Strength(depth, float((power * fwhm).sum() / power.sum()), len(epochs))


def why_better(present: Strength, new: Strength, config: ReplacementConfig | None = None) -> str:
    """Return in what a new reference would be clearly better than the present one; empty if it would not.

    Both strengths are those expected from their epochs, so that like is compared with like.
    """
    config = config or ReplacementConfig()
    gain, ratio = new.depth - present.depth, new.fwhm_arcsec / present.fwhm_arcsec
    reasons = []
    if gain >= config.depth_gain_mag and ratio <= config.seeing_tolerance:
        reasons.append(f"{gain:.2f} mag deeper")
    if ratio <= config.seeing_gain and gain >= -config.depth_tolerance_mag:
        reasons.append(f"FWHM {ratio:.2f} of the present {present.fwhm_arcsec:.2f} arcsec")
    return "; ".join(reasons)


def _by_depth(candidate: Candidate) -> tuple[float, int]:
    return -candidate.maglimit, candidate.pid


def _unfit(c: Candidate) -> str:
    """Return why an epoch is not even compared with."""
    if c.status != 1:
        return f"status {c.status}"
    if c.infobits != 0:
        return f"infobits {c.infobits}"
    needed = {
        "FWHM": c.fwhm_arcsec,
        "limit": c.maglimit,
        "zero point": c.zero_point,
        "background": c.background,
        "astrometric RMS": c.astrometric_rms_arcsec,
    }
    unknown = [name for name, value in needed.items() if not math.isfinite(value)]
    return f"no {', '.join(unknown)}" if unknown else ""


@dataclass(frozen=True)
class _Standards:
    """The field's own values that epochs are held against."""

    config: SelectionConfig
    limit: float
    zero_point: float
    fwhm: float
    background: float

    @classmethod
    def of(cls, fit: Sequence[Candidate], config: SelectionConfig) -> _Standards:
        if not fit:
            return cls(config, math.nan, math.nan, math.nan, math.nan)

        def quantile(name: str, share: float) -> float:
            return float(np.quantile([getattr(c, name) for c in fit], share))

        return cls(
            config,
            quantile("maglimit", 0.5) - config.below_median_limit_mag,
            quantile("zero_point", config.best_zp_quantile) - config.below_best_zp_mag,
            quantile("fwhm_arcsec", config.fwhm_quantile),
            quantile("background", config.background_quantile),
        )

    def faults(self, c: Candidate) -> list[str]:
        """Return what speaks against an epoch by itself or beside the field's typical one."""
        k = self.config
        low, high = k.least_fwhm_arcsec, k.most_fwhm_arcsec
        most_rms = k.most_astrometric_rms_arcsec
        conditions = (
            (not low <= c.fwhm_arcsec <= high, f"FWHM {c.fwhm_arcsec:.2f} not {low:g} to {high:g} arcsec"),
            (c.maglimit < self.limit, f"limit {c.maglimit:.2f}, under {self.limit:.2f}"),
            (c.zero_point < self.zero_point, f"zero point {c.zero_point:.2f}, under {self.zero_point:.2f}"),
            (c.airmass > k.most_airmass, f"airmass {c.airmass:.2f}, over {k.most_airmass:g}"),
            (
                c.astrometric_rms_arcsec > most_rms,
                f"astrometric RMS {c.astrometric_rms_arcsec:.3f} arcsec, over {most_rms:g}",
            ),
        )
        return [text for holds, text in conditions if holds]

    def preferences(self, c: Candidate) -> list[str]:
        """Return by which quantiles of the field an epoch is left to better ones."""
        k = self.config
        found = []
        if c.fwhm_arcsec > self.fwhm:
            found.append(
                f"FWHM {c.fwhm_arcsec:.2f} arcsec, over the {k.fwhm_quantile:.0%} of {self.fwhm:.2f}"
            )
        if c.background > self.background:
            share = f"{k.background_quantile:.0%}"
            found.append(f"background {c.background:.4g}, over the {share} of {self.background:.4g}")
        return found


def _limited(ranked: Sequence[Candidate], config: SelectionConfig) -> list[Candidate]:
    """Return the best of each night, and of all."""
    nights: Counter[str] = Counter()
    chosen = []
    for c in ranked:
        nights[c.night] += 1
        if nights[c.night] <= config.max_per_night:
            chosen.append(c)
    return chosen[: config.max_frames]


def _readmitted(
    ranked: Sequence[Candidate], relative: dict[int, str], config: SelectionConfig
) -> list[Candidate]:
    """Return the preferred ones and as many of the others as are needed."""
    preferred = [c for c in ranked if not relative[c.pid]]
    for n in range(len(ranked) - len(preferred) + 1):
        others = [c for c in ranked if relative[c.pid]][:n]
        chosen = _limited(sorted([*preferred, *others], key=_by_depth), config)
        if not _shortfall(chosen, config):
            break
    return chosen


def _left_over(c: Candidate, chosen: Sequence[Candidate], config: SelectionConfig) -> str:
    if sum(other.night == c.night for other in chosen) >= config.max_per_night:
        return f"{config.max_per_night} deeper ones of night {c.night}"
    return f"{config.max_frames} deeper ones"


def _shortfall(chosen: Sequence[Candidate], config: SelectionConfig) -> str:
    nights = len({c.night for c in chosen})
    reasons = []
    if len(chosen) < config.min_frames:
        reasons.append(f"{len(chosen)} frames, {config.min_frames} needed")
    if nights < config.min_nights:
        reasons.append(f"of {nights} nights, {config.min_nights} needed")
    return "; ".join(reasons)
