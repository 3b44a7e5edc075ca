"""What lies next to candidates: reference, Pan-STARRS and Gaia sources (reference section 6.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
Columns = dict[str, Any]
N_PS1 = 3
BANDS = "griz"


class Plane:
    """Places around the middle of an image, in arcsec.

    Parameters
    ----------
    centre : (ra, dec), degrees
    ra, dec : numpy.ndarray (N), float64
        Of the candidates, degrees.
    """

    def __init__(self, centre: tuple[float, float], ra: Floats, dec: Floats) -> None:
        self.centre = centre
        self.places = np.stack(tangent.project(ra, dec, centre), axis=1)

    def nearest(
        self, ra: Floats, dec: Floats, radius: float, k: int = 1
    ) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
        """Return distances (N, k; arcsec, infinite for none), rows (N, k), and how many lie within (N)."""
        n = len(self.places)
        if n == 0 or len(ra) == 0:
            return np.full((n, k), np.inf), np.zeros((n, k), np.int64), np.zeros(n, np.int64)
        tree = cKDTree(np.stack(tangent.project(ra, dec, self.centre), axis=1))
        distance, row = tree.query(self.places, k=np.arange(1, k + 1), distance_upper_bound=radius)
        within = tree.query_ball_point(self.places, radius, return_length=True)
        return distance, np.where(np.isfinite(distance), row, 0), np.asarray(within, np.int64)


def reference_neighbours(plane: Plane, sources: pa.Table, radius: float, pixel_arcsec: float) -> Columns:
    """Return distnr (px), magnr, sigmagnr, chinr, sharpnr, ranr, decnr; null where nothing is near."""
    ra, dec = (_floats(sources, name) for name in ("ra", "dec"))
    distance, row, _ = plane.nearest(ra, dec, radius)
    near, row = np.isfinite(distance[:, 0]), row[:, 0]
    names = ("mag", "sigmag", "chi", "sharp", "ra", "dec")
    columns = {f"{name}nr": _where(near, _floats(sources, name), row) for name in names}
    return columns | {"distnr": _masked(distance[:, 0] / pixel_arcsec, near)}


def ps1_neighbours(plane: Plane, objects: pa.Table, radius: float) -> Columns:
    """Return objectidps, s<band>mag, sgscore and distpsnr of the three nearest, and nmtchps."""
    ra, dec = (_floats(objects, name) for name in ("ra", "dec"))
    distance, row, within = plane.nearest(ra, dec, radius, N_PS1)
    found: Columns = {"nmtchps": within}
    identity = objects.column("objid").to_numpy()
    for k in range(N_PS1):
        near, rows = np.isfinite(distance[:, k]), row[:, k]
        ids = identity[rows] if len(identity) else np.zeros(len(rows), np.int64)
        found[f"objectidps{k + 1}"] = pa.array(ids, pa.int64(), mask=~near)
        found[f"distpsnr{k + 1}"] = _masked(distance[:, k], near)
        found[f"sgscore{k + 1}"] = _where(near, _floats(objects, "sgscore"), rows)
        for band in BANDS:
            found[f"s{band}mag{k + 1}"] = _where(near, _floats(objects, f"{band}mag"), rows)
    return found


def gaia_neighbours(
    plane: Plane, ra: Floats, dec: Floats, mag: Floats, radius: float, bright: float
) -> Columns:
    """Return neargaia, maggaia and the same of bright ones; places at the epoch of the image, degrees."""
    found: Columns = {}
    for ending, chosen in (("", np.isfinite(mag)), ("bright", mag < bright)):
        distance, row, _ = plane.nearest(ra[chosen], dec[chosen], radius)
        near = np.isfinite(distance[:, 0])
        found[f"neargaia{ending}"] = _masked(distance[:, 0], near)
        found[f"maggaia{ending}"] = _where(near, mag[chosen], row[:, 0])
    return found


def _where(near: NDArray[np.bool_], values: Floats, row: NDArray[np.int64]) -> pa.Array:
    taken = values[row] if len(values) else np.full(len(row), np.nan)
    return _masked(taken, near)


def _masked(values: Floats, known: NDArray[np.bool_]) -> pa.Array:
    known = known & np.isfinite(values)
    return pa.array(np.where(known, values, 0.0), pa.float64(), mask=~known)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(zero_copy_only=False), np.float64)
