"""From cut-outs of a night to the reflections of one filter, with errors and a verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.masking.ghost_find import (
    SIGMA_PER_MAD,
    FoundGhost,
    GeometryFit,
    Prepared,
    find_ring,
    fit_geometry,
    prepare,
)
from zsds_tasks.science.masking.ghost_geometry import Floats, as_places
from zsds_tasks.science.masking.ghost_halo_fit import HaloFit, fit_halos
from zsds_tasks.science.masking.ghost_map import Ring, fit_ring, ghost_map, stack_ghosts
from zsds_tasks.science.masking.ghost_model import GhostModel
from zsds_tasks.science.masking.ghost_stamps import GhostStamp, Reflection

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class GhostFitConfig(Declaration):
    """How reflections are fitted, and what a fit must reach to be believed."""

    outer_shares: tuple[float, ...] = Field(
        (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15), description="radii tried first, in those of the prior"
    )
    inner_shares: tuple[float, ...] = Field(
        (0.0, 0.25, 0.4, 0.55, 0.7), description="holes tried first, in the outer radius"
    )
    searched: Count = Field(60, description="brightest cut-outs that choose the radii")
    used: Count = Field(500, description="brightest cut-outs that are used at all")
    rounds: Count = Field(2, description="of places, then radii")
    least_gain: Positive = Field(40.0, description="drop of chi square by which a ghost counts as found")
    search_sigmas: Positive = Field(3.0, description="a ghost is looked for so far from its predicted place")
    least_scatter_arcsec: Positive = Field(2.0, description="of ghosts about the geometry: bins are no finer")
    same_place_arcsec: Positive = Field(90.0, description="stars so near each other in the field count once")
    cell_arcsec: Positive = Field(6.0, description="of the ghost's map")
    least_places: Count = Field(3, description="different places of stars in the field")
    most_outliers: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="share of found ghosts")
    most_scatter_arcsec: Positive = Field(30.0, description="of ghosts about the geometry")
    most_prior_sigmas: Positive = Field(4.0, description="a parameter further from the prior is not believed")
    least_ratio_snr: Positive = Field(5.0, description="of a flux ratio")
    most_ratio: Positive = Field(5.0, description="times the prior's flux ratio: no ghost is so bright")
    halo_reach_arcsec: Positive = Field(60.0, description="rims are looked for so far from the prior's")
    least_halo_gain: Positive = Field(100.0, description="drop of chi square by which halos are believed")
    least_halo_stars: Count = Field(2, description="stars that must show a rim")


@dataclass(frozen=True)
class Verdict:
    """Whether a part of the fit may be used, and why not."""

    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class ReflectionFit:
    """What came of a fit.

    Parameters
    ----------
    model : GhostModel
        Fitted where a part was accepted, the prior elsewhere.
    ghosts, halos : Verdict
    n_stamps, n_ghosts, n_places : int
        Cut-outs of ghosts, ghosts found and used, different places of stars behind them.
    ring : Ring or None
        Radii and flux ratio with errors.
    halo : HaloFit or None
    """

    model: GhostModel
    ghosts: Verdict
    halos: Verdict
    n_stamps: int
    n_ghosts: int
    n_places: int
    ring: Ring | None
    halo: HaloFit | None


def fit_reflections(
    stamps: Sequence[GhostStamp], prior: GhostModel, config: GhostFitConfig, source: str
) -> ReflectionFit:
    """Fit ghosts and halos of one filter; what cannot be fitted stays as the prior has it.

    Parameters
    ----------
    stamps : sequence of GhostStamp
        Any order and number.
    prior : GhostModel
    config : GhostFitConfig
    source : str
        Name of the result: the night.
    """
    ordered = sorted(stamps, key=lambda s: -s.flux / s.noise)
    ghosts = [s for s in ordered if s.kind == Reflection.GHOST][: config.used]
    halos = [s for s in ordered if s.kind == Reflection.HALO][: config.used]
    model, verdict, geometry, ring = _fit_ghosts(ghosts, prior, config)
    halo = fit_halos(halos, prior.halo_radius_arcsec, config.halo_reach_arcsec) if halos else None
    halo_verdict = _judge_halos(len(halos), halo, prior, config)
    if halo is not None and halo_verdict.accepted:
        model = dataclasses.replace(
            model,
            halo_radius_arcsec=halo.radius_arcsec,
            halo_radius_sigma_arcsec=halo.radius_sigma_arcsec,
            halo_flux_ratio=halo.flux_ratio,
        )
    if verdict.accepted or halo_verdict.accepted:
        model = dataclasses.replace(model, source=source)
    n_used = int(np.count_nonzero(~geometry.is_outlier)) if geometry else 0
    n_places = geometry.n_places if geometry else 0
    return ReflectionFit(model, verdict, halo_verdict, len(ghosts), n_used, n_places, ring, halo)


def _fit_ghosts(
    stamps: list[GhostStamp], prior: GhostModel, config: GhostFitConfig
) -> tuple[GhostModel, Verdict, GeometryFit | None, Ring | None]:
    level = prior.shape.peak
    prepared = [p for s in stamps for p in [prepare(s, s.flux * level / s.per_arcsec2)] if p]
    if not prepared:
        return prior, Verdict(False, "no cut-outs of ghosts"), None, None
    outer, inner = _first_radii(prepared[: config.searched], prior, config)
    model, geometry, ring, at = prior, None, None, prepared
    for number in range(config.rounds):
        found = _find_all(prepared, model, (outer, inner), config)
        if len(found) < config.least_places:
            reason = f"{len(found)} of {len(prepared)} ghosts found, under {config.least_places}"
            return prior, Verdict(False, reason), geometry, ring
        geometry = _geometry(found, prior, config)
        kept = [f for f, out in zip(found, geometry.is_outlier, strict=True) if not out]
        if not kept:
            return prior, Verdict(False, "no two ghosts agree on a geometry"), geometry, ring
        at = [p for p, _ in kept]
        stack = stack_ghosts(at, [f.place for _, f in kept], outer, config.cell_arcsec)
        better = fit_ring(stack, outer, inner)
        if better is None:
            return prior, Verdict(False, "the stack shows no ring"), geometry, ring
        outer, inner, ring = better.outer, better.inner, _with_scatter(better, kept)
        shape = ghost_map(stack, better)
        model = dataclasses.replace(
            prior,
            offset=geometry.offset,
            factor=geometry.factor,
            covariance=geometry.covariance,
            scatter_arcsec=geometry.scatter_arcsec,
            outer_arcsec=ring.outer,
            inner_arcsec=ring.inner,
            flux_ratio=ring.flux_ratio,
            shape=shape,
            source=f"round {number + 1}",
        )
    assert geometry is not None and ring is not None  # noqa: S101, PT018 - at least one round; for mypy
    verdict = _judge_ghosts(len(found), geometry, ring, prior, config)
    return (model if verdict.accepted else prior), verdict, geometry, ring


Found = tuple[Prepared, FoundGhost]


def _first_radii(prepared: list[Prepared], prior: GhostModel, config: GhostFitConfig) -> tuple[float, float]:
    """Return the radii on a coarse grid that fit the brightest ghosts best, each where it likes to be."""
    best, radii = -np.inf, (prior.outer_arcsec, prior.inner_arcsec)
    for outer_share in config.outer_shares:
        for inner_share in config.inner_shares:
            outer = outer_share * prior.outer_arcsec
            pair = (outer, inner_share * outer)
            gains = [f.gain for _, f in _find_all(prepared, prior, pair, config)]
            if sum(gains) > best:
                best, radii = sum(gains), pair
    return radii


def _find_all(
    prepared: list[Prepared], model: GhostModel, radii: tuple[float, float], config: GhostFitConfig
) -> list[Found]:
    """Return the cut-outs in which a ring stands out, with where."""
    stars = as_places([p.stamp.star.real for p in prepared], [p.stamp.star.imag for p in prepared])
    centres, reach = model.ghost_places(stars), config.search_sigmas * model.position_sigma(stars)
    found = []
    for p, centre, arcsec in zip(prepared, centres, reach, strict=True):
        ghost = find_ring(p, *radii, complex(centre), max(float(arcsec), 2 * p.stamp.bin_arcsec))
        if ghost is not None and ghost.gain >= config.least_gain:
            found.append((p, ghost))
    return found


def _geometry(found: list[Found], prior: GhostModel, config: GhostFitConfig) -> GeometryFit:
    stars = np.array([p.stamp.star for p, _ in found])
    places = np.array([f.place for _, f in found])
    sigma = np.array([f.sigma_arcsec for _, f in found])
    return fit_geometry(stars, places, sigma, prior, config.least_scatter_arcsec, config.same_place_arcsec)


def _with_scatter(ring: Ring, kept: list[Found]) -> Ring:
    """Add to the flux ratio's error what single stars differ by: magnitudes of the catalogue are rough."""
    star = np.array([p.stamp.star_id for p, _ in kept])
    ratio = np.array([f.ratio for _, f in kept])
    means = np.array([np.median(ratio[star == i]) for i in np.unique(star)])
    if len(means) < 2:
        relative = 0.3
    else:
        spread = SIGMA_PER_MAD * float(np.median(np.abs(means / np.median(means) - 1)))
        relative = spread / np.sqrt(len(means))
    sigma = float(np.hypot(ring.flux_ratio_sigma, relative * ring.flux_ratio))
    return dataclasses.replace(ring, flux_ratio_sigma=sigma)


def _judge_ghosts(
    n_found: int, geometry: GeometryFit, ring: Ring, prior: GhostModel, config: GhostFitConfig
) -> Verdict:
    off: Floats = np.array([geometry.offset.real, geometry.offset.imag, geometry.factor.real])
    off = np.abs(np.append(off, geometry.factor.imag) - prior.parameters)
    pull = float((off / np.sqrt(np.diag(prior.covariance))).max())
    outliers = float(np.mean(geometry.is_outlier)) if n_found else 1.0
    snr = ring.flux_ratio / max(ring.flux_ratio_sigma, 1e-12)
    checks = (
        (
            geometry.n_places < config.least_places,
            f"ghosts of {geometry.n_places} places in the field, under {config.least_places}",
        ),
        (outliers > config.most_outliers, f"{outliers:.0%} of ghosts off the geometry"),
        (
            geometry.scatter_arcsec > config.most_scatter_arcsec,
            f"ghosts scatter by {geometry.scatter_arcsec:.0f} arcsec about the geometry",
        ),
        (pull > config.most_prior_sigmas, f"geometry {pull:.1f} sigma from what the camera is built to"),
        (snr < config.least_ratio_snr, f"flux ratio of {snr:.1f} sigma"),
        (
            ring.flux_ratio > config.most_ratio * prior.flux_ratio,
            f"flux ratio {ring.flux_ratio:.2g}, over {config.most_ratio:g} times the prior's",
        ),
    )
    failed = [text for holds, text in checks if holds]
    return Verdict(not failed, "; ".join(failed))


def _judge_halos(n_stamps: int, halo: HaloFit | None, prior: GhostModel, config: GhostFitConfig) -> Verdict:
    if n_stamps == 0:
        return Verdict(False, "no cut-outs of halos")
    if halo is None:
        return Verdict(False, f"no rim in {n_stamps} cut-outs of halos")
    snr = halo.flux_ratio / max(halo.flux_ratio_sigma, 1e-12)
    checks = (
        (halo.gain < config.least_halo_gain, f"halos lower chi square by {halo.gain:.0f}"),
        (
            halo.n_stars < config.least_halo_stars,
            f"rims of {halo.n_stars} stars, under {config.least_halo_stars}",
        ),
        (snr < config.least_ratio_snr, f"halo flux ratio of {snr:.1f} sigma"),
        (
            halo.flux_ratio > config.most_ratio * prior.halo_flux_ratio,
            f"halo flux ratio {halo.flux_ratio:.2g}, over {config.most_ratio:g} times the prior's",
        ),
    )
    failed = [text for holds, text in checks if holds]
    return Verdict(not failed, "; ".join(failed))
