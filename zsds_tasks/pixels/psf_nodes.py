"""Tables of a PSF in the order of their offsets: positions, change of sampling, centring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.psf_moffat import Moffat
from zsds_tasks.pixels.psf_splines import MAX_TERMS, node_offsets, terms_at

Floats = NDArray[np.float64]
PLACES_WITHIN = 0.85


def node_grid(half: int, oversampling: int) -> tuple[Floats, Floats]:
    """Return the offsets (dx, dy) of all nodes, px, (n, n) each."""
    offsets = node_offsets(half, oversampling)
    dx, dy = np.meshgrid(offsets, offsets)
    return dx, dy


def cubic_spline(t: Floats) -> Floats:
    """Return the cubic B-spline at distances in units of its nodes."""
    t = np.abs(t)
    near = 2 / 3 - t * t * (1 - t / 2)
    far = np.clip(2 - t, 0, None) ** 3 / 6
    return np.where(t < 1, near, far)


def spline_matrix(of_half: int, nodes: int, half: int, wanted: int) -> Floats:
    """Return the matrix that turns spline coefficients into values.

    Coefficients at `nodes` per pixel of a table of half side `of_half`, zero outside; values at `wanted` per
    pixel of one of half side `half`.
    """
    of, at = node_offsets(of_half, nodes), node_offsets(half, wanted)
    return cubic_spline((at[:, None] - of[None, :]) * nodes)


def centred(nodes: Floats, half: int, oversampling: int, sigma: float) -> Floats:
    """Move a PSF so that its centroid under a Gaussian window is zero, at any place of the image.

    Shifting all stars one way and the PSF the other leaves every residual as it is: without this the places
    of stars would drift over the image as the tables please.

    Parameters
    ----------
    nodes : numpy.ndarray (T, n, n), float64
        Values of every polynomial term.
    half, oversampling : int
    sigma : float
        Of the window, px.
    """
    dx, dy = node_grid(half, oversampling)
    window = np.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))
    first = np.stack([window * dx, window * dy])
    out = nodes.copy()
    for _ in range(2):
        slope_y, slope_x = np.gradient(out[0], 1 / oversampling)
        slopes = np.stack([slope_x, slope_y])
        response = np.einsum("aij,bij->ab", first, slopes)
        moments = np.einsum("aij,tij->ta", first, out)
        out -= np.einsum("ta,aij->tij", np.linalg.solve(response, moments.T).T, slopes)
    return out


def profile_nodes(profile: Moffat, degree: int, half: int, oversampling: int) -> Floats:
    """Return a profile, normalised at every place, as values at the nodes of polynomial terms (T, n, n).

    The polynomial is that which fits the profile best on a grid of places: one of degree 2 follows widths
    that vary by a tenth to 1e-3.
    """
    side = np.linspace(-1, 1, 2 * degree + 1) * (PLACES_WITHIN if degree else 0)
    places = np.zeros((len(side) ** 2, MAX_TERMS))
    for k, (v, u) in enumerate((v, u) for v in side for u in side):
        terms_at(u, v, degree, places[k])
    places = places[:, : profile.shape.shape[1]]
    dx, dy = node_grid(half, oversampling)
    is_pixel = (np.abs(dx - np.rint(dx)) < 1e-9) & (np.abs(dy - np.rint(dy)) < 1e-9)
    is_pixel &= (np.abs(dx) < half + 0.5) & (np.abs(dy) < half + 0.5)
    lights = np.stack([profile.at(terms, dx, dy) for terms in places])
    lights /= lights[:, is_pixel].sum(axis=1)[:, None, None]
    return np.einsum("tp,pij->tij", np.linalg.pinv(places), lights)
