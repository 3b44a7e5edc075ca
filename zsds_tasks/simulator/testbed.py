"""One readout channel with everything known about it: for tests and benchmarks of single stages.

A night delivers files; here one exposure of one channel stays in memory, pointed at any place of the
simulated sky, in any seeing, with its detector, its light path, its truth and the reference catalogues
around it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsds_tasks.simulator.instrument import throughput
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.detector import BAD_KINDS, Ccd
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.instrument.readout import GRID_STEP
from zsds_tasks.simulator.production import Recipe, Stage, set_stage
from zsds_tasks.simulator.products import Exposure, Floats
from zsds_tasks.simulator.sky.census import take_census
from zsds_tasks.simulator.truth.artefacts import artefact_table
from zsds_tasks.simulator.truth.reference_catalogs import gaia_table, ps1_table
from zsds_tasks.simulator.truth.tables import detection_table
from zsds_tasks.sky.tangent import deproject, separation_deg
from zsds_tasks.survey.camera import Quadrant
from zsds_tasks.survey.nights import ObservingNight, mjd

Image = NDArray[np.float32]
NIGHT = ObservingNight.parse("20251012")
EXPOSURES = 130
"""Of that night: enough for every filter's turn."""
SKIES = {"sparse": (192.9, 27.1), "ordinary": (120.0, 22.0), "rich": (107.0, 16.5), "crowded": (298.0, 29.0)}
"""Places (ra, dec; degrees) by density: Galactic pole, latitudes 25 and 11, and close to the plane.

To r = 20.5 a ZTF quadrant holds about 2,500, 4,400, 10,000 and 89,000 objects there.
"""


@dataclass(frozen=True)
class ExposedQuadrant:
    """One channel of one exposure and all that is true of it.

    Parameters
    ----------
    raw : numpy.ndarray (ny, nx), uint16
    overscan : numpy.ndarray (ny, n), uint16
    quadrant : Quadrant
        Its number, place and detector.
    exposure : Exposure
        With true boresight and what the header claims.
    bias : numpy.ndarray (ny, nx), float32
        Planted fixed pattern, DN over the overscan's level.
    response : numpy.ndarray (ny, nx), float32
        Planted response of each pixel, without what is smooth.
    smooth : numpy.ndarray (ny, nx), float32
        Planted smooth throughput: vignetting, shutter, waves of response.
    defects : dict of numpy.ndarray (ny, nx), bool
        Where defects of each kind lie.
    detections, artefacts : pyarrow.Table
        Truth; see `zsds_tasks.simulator.truth`.
    instrument : Instrument
    stage : Stage
    """

    raw: NDArray[np.uint16]
    overscan: NDArray[np.uint16]
    quadrant: Quadrant
    exposure: Exposure
    bias: Image
    response: Image
    smooth: Image
    defects: dict[str, NDArray[np.bool_]]
    detections: pa.Table
    artefacts: pa.Table
    instrument: Instrument = dataclasses.field(repr=False)
    stage: Stage = dataclasses.field(repr=False)

    def pixels_to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return true ra, dec (degrees) of FITS 1-based pixels."""
        return self.instrument.optics.pixels_to_sky(self.exposure, self.quadrant.rcid, x, y)

    @property
    def middle(self) -> tuple[float, float]:
        """True place (ra, dec; degrees) of the middle of the channel."""
        ny, nx = self.raw.shape
        ra, dec = self.pixels_to_sky(np.array([(nx + 1) / 2]), np.array([(ny + 1) / 2]))
        return float(ra[0]), float(dec[0])

    def catalogs(self, radius_deg: float) -> tuple[pa.Table, pa.Table]:
        """Return Gaia-like and Pan-STARRS-like rows around the middle of the channel."""
        world = self.stage.world
        middle = self.middle
        census = take_census(world.site, world.config, world.seed, [middle], mjd(self.exposure.middle))
        found = []
        for table in (gaia_table(census, world.seed), ps1_table(census, world.seed)):
            away = separation_deg(table["ra"].to_numpy(), table["dec"].to_numpy(), *middle)
            found.append(table.filter(pa.array(away < radius_deg)))
        return found[0], found[1]


def expose_quadrant(
    include: Path,
    *,
    camera: str = "ztf",
    rcid: int = 0,
    seed: int = 1,
    place: tuple[float, float] = SKIES["ordinary"],
    filtercode: str = "zr",
    seeing_arcsec: float | None = None,
    without: tuple[str, ...] = (),
    zero_point_shift: float = 0.0,
    number: int = 0,
) -> ExposedQuadrant:
    """Expose one channel, its middle pointed at `place`.

    Parameters
    ----------
    include : Path
    camera : str
    rcid : int
    seed : int
    place : (ra, dec), degrees
        True middle of the channel, to some arcseconds.
    filtercode : str
    seeing_arcsec : float, optional
        FWHM before pixel and diffusion; by default that of the night.
    without : tuple of str
        Effects to switch off.
    zero_point_shift : float
        Added to the zero point, mag: clouds are negative.
    number : int
        Which exposure of the filter in the night; its noise and its asteroids are its own.
    """
    recipe = Recipe(include, camera, seed, NIGHT, EXPOSURES, tuple(sorted(without)))
    stage = set_stage(recipe)
    instrument = stage.instrument
    science = [
        e for e in stage.night.exposures if e.imgtypecode == "o" and e.filter and e.filter.code == filtercode
    ]
    exposure = _pointed(instrument, science[number], rcid, place)
    exposure = dataclasses.replace(
        exposure,
        seeing_fwhm_arcsec=seeing_arcsec or exposure.seeing_fwhm_arcsec,
        zero_point=exposure.zero_point + zero_point_shift,
        extinction_mag=exposure.extinction_mag - zero_point_shift,
    )
    quadrant = instrument.camera.quadrants[rcid]
    scene = stage.night.scene(exposure, quadrant.ccdid)
    frame = expose_ccd(instrument, scene, quadrant.ccdid)
    bias, response, defects = planted(instrument, quadrant)
    here = pa.scalar(rcid, pa.int16())
    detections = detection_table(instrument.camera, instrument.optics, scene)
    artefacts = artefact_table(instrument.camera, list(frame.artefacts))
    return ExposedQuadrant(
        raw=frame.images[quadrant.qid - 1],
        overscan=frame.overscans[quadrant.qid - 1],
        quadrant=quadrant,
        exposure=exposure,
        bias=bias,
        response=response,
        smooth=_smooth(instrument, exposure, quadrant),
        defects=defects,
        detections=detections.filter(pc.equal(detections["rcid"], here)),
        artefacts=artefacts.filter(pc.equal(artefacts["rcid"], here)),
        instrument=instrument,
        stage=stage,
    )


def planted(instrument: Instrument, quadrant: Quadrant) -> tuple[Image, Image, dict[str, NDArray[np.bool_]]]:
    """Return what is fixed in a channel: bias (DN), pixel response, and where defects of each kind lie."""
    ccd = instrument.ccd(quadrant.ccdid)
    pattern = ccd.bias[quadrant.qid - 1]
    bias = pattern.row[:, None] + pattern.column + pattern.glow_row[:, None] * pattern.glow_column
    response = np.ascontiguousarray(_part(ccd.response, instrument, quadrant.qid), np.float32)
    return bias.astype(np.float32), response, _defects(ccd, instrument, quadrant.qid)


def _pointed(instrument: Instrument, exposure: Exposure, rcid: int, place: tuple[float, float]) -> Exposure:
    """Turn the telescope, errors and all, so that the middle of a channel lies at a place."""
    east = instrument.camera.quadrants[rcid].centre_east_arcsec
    north = instrument.camera.quadrants[rcid].centre_north_arcsec
    ra, dec = place
    for _ in range(4):
        found = deproject(east, north, (ra, dec), exposure.rotation_deg)
        ra, dec = ra + place[0] - float(found[0]), dec + place[1] - float(found[1])
    cos = np.cos(np.radians(dec)) / np.cos(np.radians(exposure.boresight_dec))

    def moved(of_ra: float, of_dec: float) -> tuple[float, float]:
        return (ra + (of_ra - exposure.boresight_ra) / cos) % 360.0, dec + of_dec - exposure.boresight_dec

    header_ra, header_dec = moved(exposure.header_ra, exposure.header_dec)
    requested_ra, requested_dec = moved(exposure.requested_ra, exposure.requested_dec)
    return dataclasses.replace(
        exposure,
        boresight_ra=ra % 360.0,
        boresight_dec=dec,
        header_ra=header_ra,
        header_dec=header_dec,
        requested_ra=requested_ra,
        requested_dec=requested_dec,
    )


def _part(image: NDArray[np.generic], instrument: Instrument, qid: int) -> NDArray[np.generic]:
    x0, y0 = quadrant_origin(instrument.camera, qid)
    shape = instrument.camera.quadrant
    return image[y0 : y0 + shape.ny, x0 : x0 + shape.nx]


def _smooth(instrument: Instrument, exposure: Exposure, quadrant: Quadrant) -> Image:
    """Spread the nodes of the smooth throughput over the pixels, as light is collected."""
    place = throughput.node_places(instrument, exposure, quadrant.ccdid)
    nodes = throughput.throughput(instrument, exposure, quadrant.ccdid, place)
    x0, y0 = quadrant_origin(instrument.camera, quadrant.qid)
    shape = instrument.camera.quadrant
    row, column = (np.arange(y0, y0 + shape.ny) / GRID_STEP), (np.arange(x0, x0 + shape.nx) / GRID_STEP)
    i, j = row.astype(int), column.astype(int)
    a, b = (row - i)[:, None], column - j
    rows = nodes[i] * (1 - a) + nodes[i + 1] * a
    return (rows[:, j] * (1 - b) + rows[:, j + 1] * b).astype(np.float32)


def _defects(ccd: Ccd, instrument: Instrument, qid: int) -> dict[str, NDArray[np.bool_]]:
    found = {kind: np.zeros(ccd.response.shape, np.bool_) for kind in BAD_KINDS}
    ny = instrument.camera.quadrant.ny
    for row, column, kind in zip(ccd.bad.row, ccd.bad.column, ccd.bad.kind, strict=True):
        name = BAD_KINDS[kind]
        rows = slice(row, row + 1)
        if name == "blocked column":
            rows = slice(row, ny) if row < ny else slice(ny, row + 1)
        found[name][rows, column] = True
    return {kind: np.ascontiguousarray(_part(where, instrument, qid)) for kind, where in found.items()}
