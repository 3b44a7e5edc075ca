"""What is known of a camera's reflections: where a star's ghost falls, how it looks, how large halos are.

A ghost lies at c + Z (2 p0 - p): the star's place p reflected through the optical axis p0, scaled and turned
by Z = scale exp(i rotation), shifted by c (reference 3.9). Ghosts alone fix only c + 2 Z p0: the axis is
given and the fit moves c. Places are complex, east + i north in the camera frame, arcsec.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.masking.ghost_geometry import Places

Floats = NDArray[np.float64]
Image = NDArray[np.float32]
Positive = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(gt=0, le=0.1)]
PRIOR = "prior"
N_GEOMETRY = 4  # c east, c north, Re Z, Im Z


class GhostPrior(Declaration):
    """What is assumed of ghosts before any was seen: symmetry about the field's centre, generous sizes."""

    axis_arcsec: tuple[float, float] = Field((0.0, 0.0), description="optical axis p0: east, north")
    offset_arcsec: tuple[float, float] = Field((0.0, 0.0), description="c: east, north")
    offset_sigma_arcsec: Positive = Field(60.0, description="how well c is known, per axis")
    scale: Positive = Field(1.0, description="|Z|")
    scale_sigma: Positive = Field(0.015, description="how well it is known")
    rotation_sigma_deg: Positive = Field(0.2, description="how well the turn of 0 is known")
    outer_arcsec: Positive = Field(80.0, description="radius of the ghost, rather too large")
    inner_arcsec: Annotated[float, Field(ge=0)] = Field(0.0, description="radius of its hole, too small")
    flux_ratio: Ratio = Field(1e-3, description="of ghost to star, the bright end of what is known")


class HaloPrior(Declaration):
    """What is assumed of halos before any was measured."""

    radius_arcsec: Positive = Field(375.0, description="ZTF's, 367 or 368 arcsec, and a little more")
    radius_sigma_arcsec: Positive = Field(8.0, description="how well it is known")
    flux_ratio: Ratio = Field(1e-2, description="of halo to star, rather too large")


@dataclass(frozen=True)
class GhostMap:
    """Mean ghost: surface brightness over the star's flux, per square arcsecond.

    Parameters
    ----------
    values : numpy.ndarray (n, n), float32
        [north, east], odd n, the ghost's centre in the middle cell.
    cell_arcsec : float
        Side of a cell.
    """

    values: Image
    cell_arcsec: float

    @property
    def half_arcsec(self) -> float:
        """Distance from the middle to the middle of the outermost cells."""
        return (len(self.values) // 2) * self.cell_arcsec

    @cached_property
    def peak(self) -> float:
        """The brightest cell."""
        return float(self.values.max())


@dataclass(frozen=True)
class GhostModel:
    """Reflections in one filter.

    Parameters
    ----------
    axis, offset, factor : complex
        p0, c (arcsec) and Z.
    covariance : numpy.ndarray (4, 4), float64
        Of c east, c north, Re Z, Im Z.
    scatter_arcsec : float
        Of single ghosts about the geometry, per axis: what it does not describe.
    outer_arcsec, inner_arcsec : float
        Radii of the ring.
    flux_ratio : float
        Of ghost to star.
    shape : GhostMap
    halo_radius_arcsec, halo_radius_sigma_arcsec, halo_flux_ratio : float
    source : str
        The night whose images it was fitted to, or "prior".
    """

    axis: complex
    offset: complex
    factor: complex
    covariance: Floats
    scatter_arcsec: float
    outer_arcsec: float
    inner_arcsec: float
    flux_ratio: float
    shape: GhostMap
    halo_radius_arcsec: float
    halo_radius_sigma_arcsec: float
    halo_flux_ratio: float
    source: str

    @property
    def scale(self) -> float:
        """|Z|."""
        return abs(self.factor)

    @property
    def rotation_deg(self) -> float:
        """Turn of Z, from east to north."""
        return float(np.degrees(np.angle(self.factor)))

    @property
    def parameters(self) -> Floats:
        """The geometry as (4): c east, c north, Re Z, Im Z."""
        return np.array([self.offset.real, self.offset.imag, self.factor.real, self.factor.imag])

    @property
    def centre_ghost(self) -> complex:
        """Where the ghost of a star in the middle of the field falls: c + 2 Z p0, free of the degeneracy."""
        return self.offset + 2 * self.factor * self.axis

    def ghost_places(self, stars: Places) -> Places:
        """Return where the ghosts of stars at these places fall."""
        return self.offset + self.factor * (2 * self.axis - stars)

    def position_sigma(self, stars: Places) -> Floats:
        """Return how well each ghost's place is predicted, arcsec (N): the sigma in its worst direction."""
        u = 2 * self.axis - np.atleast_1d(stars)
        east, north = geometry_design(u)
        ee, nn, en = (
            np.einsum("ni,ij,nj->n", a, self.covariance, b)
            for a, b in ((east, east), (north, north), (east, north))
        )
        # A scale moves ghosts toward the axis only, a turn across it: the longer axis of the error ellipse.
        longest = (ee + nn) / 2 + np.hypot((ee - nn) / 2, en)
        return np.sqrt(longest + self.scatter_arcsec**2)


def geometry_design(u: Places) -> tuple[Floats, Floats]:
    """Return the rows (N, 4) that give east and north of c + Z u from c east, c north, Re Z, Im Z."""
    one, zero = np.ones(len(u)), np.zeros(len(u))
    return np.stack([one, zero, u.real, -u.imag], axis=1), np.stack([zero, one, u.imag, u.real], axis=1)


def prior_model(ghost: GhostPrior, halo: HaloPrior, cell_arcsec: float) -> GhostModel:
    """Return the model before any fit.

    Parameters
    ----------
    ghost : GhostPrior
    halo : HaloPrior
    cell_arcsec : float
        Of the ghost's map.
    """
    turn = np.radians(ghost.rotation_sigma_deg) * ghost.scale
    sigma = np.array([ghost.offset_sigma_arcsec, ghost.offset_sigma_arcsec, ghost.scale_sigma, turn])
    return GhostModel(
        axis=complex(*ghost.axis_arcsec),
        offset=complex(*ghost.offset_arcsec),
        factor=complex(ghost.scale),
        covariance=np.diag(sigma**2),
        scatter_arcsec=0.0,
        outer_arcsec=ghost.outer_arcsec,
        inner_arcsec=ghost.inner_arcsec,
        flux_ratio=ghost.flux_ratio,
        shape=ring_map(ghost.outer_arcsec, ghost.inner_arcsec, ghost.flux_ratio, cell_arcsec),
        halo_radius_arcsec=halo.radius_arcsec,
        halo_radius_sigma_arcsec=halo.radius_sigma_arcsec,
        halo_flux_ratio=halo.flux_ratio,
        source=PRIOR,
    )


def ring_level(outer_arcsec: float, inner_arcsec: float, flux_ratio: float) -> float:
    """Return the surface brightness of a ring over its star's flux, per square arcsecond."""
    return flux_ratio / (np.pi * (outer_arcsec**2 - inner_arcsec**2))


def ring_map(
    outer_arcsec: float, inner_arcsec: float, flux_ratio: float, cell_arcsec: float, half: int | None = None
) -> GhostMap:
    """Return an even ring as a map, its edges one cell soft; `half` cells to each side, by default enough."""
    if not 0 <= inner_arcsec < outer_arcsec:
        raise ValueError(f"a ring from {inner_arcsec:g} to {outer_arcsec:g} arcsec")
    half = int(np.ceil(outer_arcsec / cell_arcsec)) + 1 if half is None else half
    radius = map_radii(half, cell_arcsec)
    values = ring_level(outer_arcsec, inner_arcsec, flux_ratio) * ring_profile(
        radius, outer_arcsec, inner_arcsec, cell_arcsec
    )
    return GhostMap(values.astype(np.float32), cell_arcsec)


def map_radii(half: int, cell_arcsec: float) -> Floats:
    """Return the distance from the middle of every cell of a map, (2 half + 1, 2 half + 1), arcsec."""
    side = np.arange(-half, half + 1) * cell_arcsec
    return np.hypot(side[:, None], side)


def ring_profile(radius: Floats, outer: float, inner: float, softness: float) -> Floats:
    """Return 1 inside a ring and 0 outside, with edges `softness` wide; all in one unit of length."""
    profile = np.clip((outer - radius) / softness + 0.5, 0.0, 1.0)
    if inner > 0:
        profile = profile * np.clip((radius - inner) / softness + 0.5, 0.0, 1.0)
    return profile
