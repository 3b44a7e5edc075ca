"""How well the smooth maps know what was planted: linearity, shutter, and the response that stars see."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.calibration.lampcells import cell_areas, cell_centres, cell_means
from zsds_tasks.science.calibration.linearity import curve_difference
from zsds_tasks.simulator.instrument import throughput
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.instrument.readout import GRID_STEP
from zsds_tasks.simulator.score import Measure
from zsds_tasks.survey.camera import Camera, Quadrant

Row = dict[str, Any]
Floats = NDArray[np.float64]
MAP_KINDS = ("linearity", "shutter", "starflat")
LINEARITY_TARGET, SHUTTER_TARGET_MS, STAR_FLAT_TARGET_MMAG = 1e-3, 2.0, 5.0


def score_maps(
    lakehouse: Lakehouse,
    instrument: Instrument,
    rows: Sequence[Row],
    flats: Mapping[tuple[int, int], Row],
) -> Iterator[Measure]:
    """Compare accepted smooth maps with the instrument.

    Parameters
    ----------
    lakehouse : Lakehouse
    instrument : Instrument
        That took the night.
    rows : sequence of dict
        Of master_frames: accepted ones of `MAP_KINDS`.
    flats : mapping
        Rows of high-frequency flats by channel and filter: what they took out of the response is not the
        star flat's to find.

    Yields
    ------
    Measure
        Worst error of DN_true/x; RMS error of the shutter, ms; RMS error of the star flats, mmag, relative to
        the mean of the channel. The last two are medians over the maps.
    """
    judges: dict[str, Callable[[Row], float]] = {
        "linearity": lambda row: _linearity_error(instrument, row),
        "shutter": lambda row: _shutter_error(lakehouse, instrument, row),
        "starflat": lambda row: _star_flat_error(lakehouse, instrument, row, flats),
    }
    found = {kind: [judges[kind](row) for row in rows if row["kind"] == kind] for kind in MAP_KINDS}
    if values := found["linearity"]:
        fitted = sum(row["choice"] == "fitted" for row in rows if row["kind"] == "linearity")
        words = f"worst error of DN_true/x at any level of {len(values)} channels, {fitted} of them fitted"
        yield _at_most("linearity error", max(values), LINEARITY_TARGET, words)
    if values := found["shutter"]:
        words = f"RMS of map minus planted shutter, median of {len(values)} channels"
        yield _at_most("shutter error, ms", float(np.median(values)), SHUTTER_TARGET_MS, words)
    if values := found["starflat"]:
        words = f"RMS of map over planted smooth response, median of {len(values)} channels and filters"
        yield _at_most("star flat error, mmag", float(np.median(values)), STAR_FLAT_TARGET_MMAG, words)


def planted_response(instrument: Instrument, quadrant: Quadrant, x: Floats, y: Floats) -> Floats:
    """Return the planted smooth response (vignetting, waves) at 0-based pixels of a channel, any shape."""
    camera = instrument.camera
    rows, columns = throughput.node_counts(camera)
    x0, y0 = quadrant_origin(camera, quadrant.qid)
    row, column = np.arange(rows) * float(GRID_STEP), np.arange(columns) * float(GRID_STEP)
    grid_y, grid_x = np.meshgrid(row - y0, column - x0, indexing="ij")
    # Nominal places: what the optics add is some arcseconds, over which nothing changes.
    nodes = throughput.smooth_response(
        instrument, quadrant.ccdid, _field_places(camera, quadrant, grid_x, grid_y)
    )
    spline = RectBivariateSpline(row - y0, column - x0, nodes, kx=1, ky=1)
    return np.asarray(spline.ev(y, x))


def planted_shutter(instrument: Instrument, quadrant: Quadrant, x: Floats, y: Floats) -> Floats:
    """Return the planted addition to the exposure time (s) at 0-based pixels of a channel, any shape."""
    return throughput.shutter_seconds(instrument, _field_places(instrument.camera, quadrant, x, y))


def _field_places(camera: Camera, quadrant: Quadrant, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    east, north = camera.focal_plane(quadrant.rcid, x + 1.0, y + 1.0)  # type: ignore[arg-type]
    radius = float(np.hypot(*camera.half_size_arcsec))
    return np.asarray(east) / radius, np.asarray(north) / radius


def _linearity_error(instrument: Instrument, row: Row) -> float:
    detector = instrument.camera.quadrants[row["rcid"]].detector
    true = (detector.linearity.a, detector.linearity.b) if instrument.effects.nonlinearity else (0.0, 0.0)
    return curve_difference((row["lin_a"], row["lin_b"]), true, detector.saturation)


def _map_of(lakehouse: Lakehouse, row: Row, shape: tuple[int, int]) -> Mesh:
    """Read a map as any reader of FITS does: scoring shares no code with what wrote it."""
    with fits.open(io.BytesIO(lakehouse.storage.read_bytes(row["path"]))) as hdus:
        values = np.ascontiguousarray(hdus["IMAGE"].data, np.float32)
        return Mesh(values, int(hdus[0].header["CELLPX"]), shape)


def _shutter_error(lakehouse: Lakehouse, instrument: Instrument, row: Row) -> float:
    shape = (instrument.camera.quadrant.ny, instrument.camera.quadrant.nx)
    mesh = _map_of(lakehouse, row, shape)
    x, y = cell_centres(shape, mesh.cell)
    true = planted_shutter(instrument, instrument.camera.quadrants[row["rcid"]], x, y)
    return float(
        1000.0 * np.sqrt(np.average((_at(mesh, x, y) - true) ** 2, weights=cell_areas(shape, mesh.cell)))
    )


def _star_flat_error(
    lakehouse: Lakehouse, instrument: Instrument, row: Row, flats: Mapping[tuple[int, int], Row]
) -> float:
    camera = instrument.camera
    shape, quadrant = (camera.quadrant.ny, camera.quadrant.nx), camera.quadrants[row["rcid"]]
    mesh = _map_of(lakehouse, row, shape)
    x, y = cell_centres(shape, mesh.cell)
    true = planted_response(instrument, quadrant, x, y)
    flat = flats.get((row["rcid"], row["fid"]))
    if flat is not None:
        pixels = decode_image(lakehouse.storage.read_bytes(flat["path"]), subject=flat["path"])
        x0, y0 = quadrant_origin(camera, quadrant.qid)
        response = instrument.ccd(quadrant.ccdid).response[y0 : y0 + shape[0], x0 : x0 + shape[1]]
        taken = (pixels / np.maximum(response, np.float32(0.01))).astype(np.float32)
        true /= cell_means(taken, mesh.cell, 5.0)[0]
    area = cell_areas(shape, mesh.cell)
    off = 2.5 * np.log10(_at(mesh, x, y) / true)
    off -= np.average(off, weights=area)
    return float(1000.0 * np.sqrt(np.average(off**2, weights=area)))


def _at(mesh: Mesh, x: Floats, y: Floats) -> Floats:
    return mesh.at(x.ravel(), y.ravel()).astype(np.float64).reshape(x.shape)


def _at_most(name: str, value: float, target: float, sentence: str) -> Measure:
    return Measure(name, round(value, 5), target, value <= target, sentence)
