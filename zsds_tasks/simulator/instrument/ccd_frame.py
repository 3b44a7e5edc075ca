"""One CCD, one exposure: light in, raw counts out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from zsds_tasks.simulator.instrument import readout
from zsds_tasks.simulator.instrument.cosmic_rays import add_tracks, draw_tracks
from zsds_tasks.simulator.instrument.detector import BAD_KINDS, BiasPattern, Ccd
from zsds_tasks.simulator.instrument.drawing import draw_light
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.instrument.readout import Counts
from zsds_tasks.simulator.instrument.render import Image
from zsds_tasks.simulator.products import Exposure, Floats, Scene
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.truth.artefacts import Artefact
from zsds_tasks.survey.camera import Quadrant

BLOCK_ROWS = 70  # of noise at a time: a few megabytes, in cache
HOT = BAD_KINDS.index("hot")
DRIFT_TERMS = 3  # Legendre terms of the bias drift along rows


@dataclass(frozen=True)
class CcdFrame:
    """What one CCD delivers.

    Parameters
    ----------
    images : tuple of (ny, nx) uint16
        Raw counts of the quadrants, in order of qid.
    overscans : tuple of (ny, overscan) uint16
        Their overscans; mirrored as the image is where reading runs against the stored columns.
    artefacts : tuple of Artefact
        What was planted.
    """

    images: tuple[Counts, ...]
    overscans: tuple[Counts, ...]
    artefacts: tuple[Artefact, ...]


def expose_ccd(instrument: Instrument, scene: Scene, ccdid: int) -> CcdFrame:
    """Return the raw counts of one CCD; the same for the same seed, whatever else is simulated."""
    exposure, ccd = scene.exposure, instrument.ccd(ccdid)
    light = draw_light(instrument, scene, ccdid)
    artefacts = list(light.artefacts)
    electrons = light.drawn
    readout.illuminate(
        electrons,
        light.smooth,
        light.throughput,
        0,
        instrument.camera.detector.dark_current * exposure.exptime_s,
    )
    _collect(instrument, exposure, ccdid, ccd, electrons)
    if instrument.effects.bad_pixels:
        _add_hot_pixels(instrument, exposure, ccdid, ccd, electrons)
    if instrument.effects.cosmic_rays:
        artefacts += _hit(instrument, exposure, ccdid, electrons)
    if instrument.effects.saturation:
        n = readout.bleed(electrons, ccd.full_well)
        artefacts += _bleeds(exposure, ccdid, ccd, electrons) if n else []
    images, overscans = [], []
    for quadrant, bias in zip(ccd.quadrants, ccd.bias, strict=True):
        image, overscan = _read(instrument, exposure, quadrant, bias, electrons)
        images.append(image)
        overscans.append(overscan)
    return CcdFrame(tuple(images), tuple(overscans), tuple(artefacts))


def _collect(instrument: Instrument, exposure: Exposure, ccdid: int, ccd: Ccd, electrons: Image) -> None:
    rng = generator(instrument.seed, "noise", instrument.camera.name, exposure.expid, ccdid)
    height, width = electrons.shape
    is_noisy = instrument.effects.noise
    normal = np.zeros((BLOCK_ROWS, width), np.float32)
    for half in range(2):
        for first in range(half * height // 2, (half + 1) * height // 2, BLOCK_ROWS):
            last = min(first + BLOCK_ROWS, (half + 1) * height // 2)
            block = normal[: last - first]
            if is_noisy:
                rng.standard_normal(dtype=np.float32, out=block)
            readout.collect(
                electrons[first:last], ccd.response[first:last], block, ccd.read_noise[half], is_noisy
            )


def _add_hot_pixels(
    instrument: Instrument, exposure: Exposure, ccdid: int, ccd: Ccd, electrons: Image
) -> None:
    rng = generator(instrument.seed, "hot pixels", instrument.camera.name, exposure.expid, ccdid)
    hot = ccd.bad.kind == HOT
    # Charge also gathers while the CCD waits to be read: half the readout on average.
    seconds = exposure.exptime_s + instrument.camera.exposure.readout_s / 2
    mean = ccd.bad.value[hot] * seconds
    charge = rng.poisson(mean) if instrument.effects.noise else mean
    np.add.at(electrons, (ccd.bad.row[hot], ccd.bad.column[hot]), charge.astype(np.float32))


def _hit(instrument: Instrument, exposure: Exposure, ccdid: int, electrons: Image) -> list[Artefact]:
    rng = generator(instrument.seed, "cosmic rays", instrument.camera.name, exposure.expid, ccdid)
    config = instrument.config.cosmic_rays
    seconds = exposure.exptime_s + instrument.camera.exposure.readout_s / 2
    tracks = draw_tracks(rng, config, (electrons.shape[0], electrons.shape[1]), seconds)
    add_tracks(electrons, tracks, rng, config)
    return [
        Artefact(
            exposure.expid,
            ccdid,
            "cosmic ray",
            tracks.x[i] + 1,
            tracks.y[i] + 1,
            tracks.x[i] + 1 + tracks.length_px[i] * np.cos(tracks.angle[i]),
            tracks.y[i] + 1 + tracks.length_px[i] * np.sin(tracks.angle[i]),
            1.0,
            float(tracks.electrons[i]),
        )
        for i in range(len(tracks.x))
    ]


def _bleeds(exposure: Exposure, ccdid: int, ccd: Ccd, electrons: Image) -> list[Artefact]:
    """One artefact per run of full pixels in a column."""
    found = []
    height, width = electrons.shape
    half_y, half_x = height // 2, width // 2
    for half in range(2):
        rows = slice(half * half_y, (half + 1) * half_y)
        limit = np.repeat(ccd.full_well[half], half_x).astype(np.float32) * np.float32(0.9999)
        is_full = electrons[rows] >= limit
        for column in np.flatnonzero(is_full.any(axis=0)):
            full = np.flatnonzero(np.diff(np.concatenate([[0], is_full[:, column].astype(np.int8), [0]])))
            for first, after in full.reshape(-1, 2):
                x, y0, y1 = column + 1.0, rows.start + first + 1.0, float(rows.start + after)
                found.append(
                    Artefact(exposure.expid, ccdid, "bleed", x, y0, x, y1, 0.5, float(after - first))
                )
    return found


def _read(
    instrument: Instrument, exposure: Exposure, quadrant: Quadrant, bias: BiasPattern, electrons: Image
) -> tuple[Counts, Counts]:
    """Image and overscan of one channel."""
    camera, config, effects = instrument.camera, instrument.config.detector, instrument.effects
    shape, detector, amplifier = camera.quadrant, quadrant.detector, quadrant.amplifier
    rng = generator(instrument.seed, "readout", camera.name, exposure.expid, quadrant.rcid)
    level = _level(instrument, rng, bias, shape.ny)[:: amplifier.read_y]
    x0, y0 = quadrant_origin(camera, quadrant.qid)
    a, b = (detector.linearity.a, detector.linearity.b) if effects.nonlinearity else (0.0, 0.0)
    image = np.empty((shape.ny, shape.nx), np.uint16)
    part = electrons[y0 : y0 + shape.ny, x0 : x0 + shape.nx]
    readout.digitise(
        part,
        image,
        np.array([detector.gain, a, b]),
        level + bias.row,
        bias.column,
        bias.glow_row,
        bias.glow_column,
    )
    noise = rng.standard_normal((shape.ny, shape.overscan)) * effects.noise
    overscan = level[:, None] + noise * detector.read_noise / detector.gain
    if effects.overscan:
        last = shape.nx - 1 if amplifier.read_x == 1 else 0
        tail = config.deferred_fraction * np.exp(-np.arange(shape.overscan) / config.deferred_columns)
        overscan += np.maximum(part[:, last, None], 0) / detector.gain * tail
    overscan = overscan[:, :: amplifier.read_x]
    return image, np.clip(np.rint(overscan), 0, readout.LARGEST_COUNT).astype(np.uint16)


def _level(instrument: Instrument, rng: np.random.Generator, bias: BiasPattern, ny: int) -> Floats:
    """Bias level of each row, in the order of reading: it drifts while the channel is read."""
    config = instrument.config.detector
    if not instrument.effects.overscan:
        return np.full(ny, bias.level)
    offset = config.overscan_offset_dn * float(rng.standard_normal())
    terms = config.row_drift_dn * rng.standard_normal(DRIFT_TERMS) / np.arange(1, DRIFT_TERMS + 1) ** 2
    drift = legendre.legval(np.linspace(-1, 1, ny), np.concatenate([[0.0], terms]))
    return np.asarray(bias.level + offset + drift)
