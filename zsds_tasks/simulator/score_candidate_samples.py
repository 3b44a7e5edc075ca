"""What a night's difference images leave behind for their score: changes, found or not, and candidates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import erf

from zsds_tasks.simulator.candidate_changes import Changes, flux_of
from zsds_tasks.simulator.candidate_reader import ImageTruth
from zsds_tasks.simulator.candidate_truth import LabelConfig, label_image
from zsds_tasks.simulator.score_matching import Columns, Truths, near, rows_of
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
EDGE_PX = 12.0
SATURATED_PX, TRAIL_PX, CROWD_ARCSEC = 25.0, 12.0, 6.0
"""Changes nearer than this to a full well, a streak's line, another change judge no completeness."""
SIGMA_PER_FWHM = 1 / 2.3548
GALAXY_SIGMA_ARCSEC = 1.2
CHANGE_COLUMNS = (
    *("object_id", "kind", "snr", "depth", "judged", "found", "true", "flux", "sigflux"),
    *("east", "north", "sigpos", "candid", "scored"),
)
CANDIDATE_COLUMNS = ("candid", "is_real", "kind", "object_id", "passed", "reason", "snr")


@dataclass(frozen=True)
class DifferenceFacts:
    """What the tables say of one difference image.

    Parameters
    ----------
    expid, rcid : int
    diffmaglim : float
        Magnitude of 5 sigma in blank sky.
    magzp : float
        Zero point of its fluxes.
    colour_mag : float
        Median colour of its stars times the coefficient of the science image's zero point.
    fwhm_arcsec, gain : float
        Of the PSF of the difference; electrons per DN.
    shape : (ny, nx)
    """

    expid: int
    rcid: int
    diffmaglim: float
    magzp: float
    colour_mag: float
    fwhm_arcsec: float
    gain: float
    shape: tuple[int, int]

    def noise(self, light: Floats) -> Floats:
        """Return the error of a PSF flux, 1 is magnitude 20; `light` (same unit) is what shines there."""
        sky = flux_of(self.diffmaglim) / 5.0
        per_electron = flux_of(self.magzp) / self.gain
        return np.asarray(np.sqrt(sky**2 + np.maximum(light, 0.0) * per_electron))


@dataclass
class DifferenceSamples:
    """What is gathered, image by image."""

    images: int = 0
    changes: list[Columns] = field(default_factory=list)
    candidates: list[Columns] = field(default_factory=list)

    def add(
        self, candidates: Columns, known: ImageTruth, facts: DifferenceFacts, config: LabelConfig
    ) -> None:
        """Take in one image.

        Parameters
        ----------
        candidates : Columns
            Those over the trigger's threshold, with passed (bool: the score's threshold) and reason (why it
            does not trigger; empty if it does) besides their columns.
        known : ImageTruth
        facts : DifferenceFacts
        config : LabelConfig
        """
        self.images += 1
        labels = label_image(candidates, known, config)
        changes = known.changes
        rows = np.full(len(changes), -1, np.int64)
        real = np.flatnonzero(labels["is_real"])
        # Of several candidates of one change the most significant stands for it.
        order = real[np.argsort(candidates["scorr"][real], kind="stable")]
        rows[labels["change"][order]] = order
        self.changes.append(_of_changes(candidates, rows, known, facts))
        kept = ("candid", "passed", "reason", "snr")
        self.candidates.append(
            {name: labels[name] for name in ("is_real", "kind", "object_id")}
            | {name: candidates[name] for name in kept}
        )

    def all_changes(self) -> Columns:
        """Return all changes as columns."""
        return _joined(self.changes, CHANGE_COLUMNS)

    def all_candidates(self) -> Columns:
        """Return all candidates as columns."""
        return _joined(self.candidates, CANDIDATE_COLUMNS)


def expected_noise(known: ImageTruth, facts: DifferenceFacts) -> Floats:
    """Return the errors that fluxes of changes should have (n), 1 is magnitude 20.

    Sky and reference are in the limiting magnitude; photons of what shines there are added, with the weight
    that a PSF fit of equal pixel weights gives them: 2 s^2 / t^2 exp(-d^2 / 2 t^2) of a source of width w at
    a distance d, t^2 = s^2 / 2 + w^2 (Gaussians of width s).
    """
    changes, sources = known.changes, known.sources
    light = np.zeros(len(changes))
    if not len(changes) or not len(sources["ra"]):
        return facts.noise(light)
    centre = (float(changes.ra[0]), float(changes.dec[0]))
    here = np.column_stack(tangent.project(changes.ra, changes.dec, centre))
    there = np.column_stack(tangent.project(sources["ra"], sources["dec"], centre))
    narrow = (facts.fwhm_arcsec * SIGMA_PER_FWHM) ** 2
    reach = 4.0 * facts.fwhm_arcsec
    pairs = cKDTree(here).sparse_distance_matrix(cKDTree(there), reach, output_type="coo_matrix")
    wide = np.where(sources["kind"] == "galaxy", narrow + GALAXY_SIGMA_ARCSEC**2, narrow)[pairs.col]
    both = narrow / 2 + wide
    weight = 2 * narrow / both * np.exp(-(pairs.data**2) / (2 * both))
    np.add.at(light, pairs.row, weight * sources["flux"][pairs.col])
    return facts.noise(light)


def seen_by_filter(half_trail_arcsec: Floats, fwhm_arcsec: float) -> Floats:
    """Return the share of a trailed source's flux (n) that a filter for points sees where it is highest.

    A point's light through a filter of its own shape is a Gaussian of 2 s^2 (s: the PSF's width), so this is
    the mean of exp(-t^2 / 4 s^2) along the trail.
    """
    reach = half_trail_arcsec / (2.0 * fwhm_arcsec * SIGMA_PER_FWHM)
    short = reach < 1e-3
    return np.where(short, 1.0, np.sqrt(np.pi) / 2 * erf(reach) / np.where(short, 1.0, reach))


def judged(known: ImageTruth, facts: DifferenceFacts) -> Truths:
    """Say which changes are fit to judge completeness by: points inside, alone, away from what is masked."""
    changes = known.changes
    pixels = np.column_stack([changes.x, changes.y])
    ny, nx = facts.shape
    with np.errstate(invalid="ignore"):
        inside = (pixels > EDGE_PX).all(axis=1) & (pixels[:, 0] < nx + 1 - EDGE_PX)
        inside &= pixels[:, 1] < ny + 1 - EDGE_PX
    fit: Truths = inside & (changes.kind != "streak") & (changes.kind != "moving_star")
    rows = np.flatnonzero(fit)
    sources = known.sources
    full = np.column_stack([sources["x"], sources["y"]])[sources["saturated"]]
    fit[rows] &= ~near(pixels[rows], full, SATURATED_PX)
    for name in ("trail", "bleed"):
        lines = rows_of(known.artefacts, known.artefacts["kind"] == name)
        for n in range(len(lines["x"])):
            ends = np.array([lines[end][n] for end in ("x", "y", "x_end", "y_end")], np.float64)
            fit[rows] &= _away(pixels[rows], ends) > TRAIL_PX
    return fit & alone(changes)


def alone(changes: Changes) -> Truths:
    """Say which changes have no other one of a tenth of theirs near by."""
    found = np.ones(len(changes), np.bool_)
    if len(changes) > 1:
        centre = (float(changes.ra[0]), float(changes.dec[0]))
        plane = np.column_stack(tangent.project(changes.ra, changes.dec, centre))
        pairs = cKDTree(plane).query_pairs(CROWD_ARCSEC, output_type="ndarray")
        size = np.abs(changes.flux)
        for this, other in ((0, 1), (1, 0)):
            found[pairs[size[pairs[:, other]] > 0.1 * size[pairs[:, this]], this]] = False
    return found


def _of_changes(
    candidates: Columns, rows: NDArray[np.int64], known: ImageTruth, facts: DifferenceFacts
) -> Columns:
    changes, found = known.changes, rows >= 0
    size, sigma = np.abs(changes.flux), expected_noise(known, facts)
    trail = np.hypot(changes.trail_east, changes.trail_north)
    here = np.where(found, rows, 0)

    def measured(name: str) -> Floats:
        if not found.any():
            return np.full(len(rows), np.nan)
        return np.where(found, candidates[name][here].astype(np.float64), np.nan)

    unit = flux_of(facts.magzp)
    cos = np.cos(np.radians(changes.dec))
    turn = (measured("ra") - changes.ra + 180.0) % 360.0 - 180.0
    return {
        "object_id": changes.object_id,
        "kind": changes.kind,
        "snr": size * seen_by_filter(trail, facts.fwhm_arcsec) / sigma,
        "depth": changes.mag - facts.diffmaglim,
        "judged": judged(known, facts),
        "found": found,
        "true": np.abs(changes.natural) * 10 ** (0.4 * facts.colour_mag),
        "flux": measured("flux") * unit,
        "sigflux": measured("sigflux") * unit,
        "east": turn * cos * 3.6e6,
        "north": (measured("dec") - changes.dec) * 3.6e6,
        "sigpos": measured("sigpos") * 1000.0,
        "candid": np.where(found, candidates["candid"][here], -1) if found.any() else rows,
        "scored": np.where(found, candidates["passed"][here], False) if found.any() else found,
    }


def _away(pixels: Floats, ends: Floats) -> Floats:
    """Return distances of pixels from the segment between two ends (x, y, x, y)."""
    way = ends[2:] - ends[:2]
    along = np.clip((pixels - ends[:2]) @ way / max(float(way @ way), 1e-9), 0.0, 1.0)
    return np.asarray(np.hypot(*(pixels - ends[:2] - along[:, None] * way).T))


def _joined(parts: list[Columns], names: tuple[str, ...]) -> Columns:
    if not parts:
        return {name: np.zeros(0, np.bool_) for name in names}
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
