"""Alerts as ZTF issued them: candidate records and stamps, and what our measures make of the same pixels."""

from __future__ import annotations

import gzip
import io
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fastavro
import numpy as np
from astropy.io import fits
from difference_builders import TruePsf, model_of

from zsds_tasks.pixels.subtraction import Subtraction, Tiles
from zsds_tasks.science.candidates.detect import Detections
from zsds_tasks.science.candidates.measure import MeasureConfig, measure

SIDE, HALF = 63, 31
STAMPS = {"cutoutScience": "science", "cutoutTemplate": "reference", "cutoutDifference": "difference"}


@dataclass(frozen=True)
class RealAlert:
    """One packet with whole stamps.

    Parameters
    ----------
    version : str
        Of the schema; "" where it is not said.
    record : dict
        The candidate.
    stamps : dict of numpy.ndarray (63, 63), float32
        science, reference, difference; NaN where nothing.
    """

    version: str
    record: dict
    stamps: dict = field(repr=False)

    @property
    def psf_fwhm(self) -> float:
        """FWHM of the PSF of the difference, px: seeratio times fwhm."""
        return self.record["seeratio"] * self.record["fwhm"]


def records(data: Path, *, issued: bool = True) -> Iterator[tuple[str, dict, dict]]:
    """Schema version, candidate and packet of all 909, or only of the 332 that a broker had written again."""
    if issued:
        with tarfile.open(data / "alerts" / "ztf_packets_dev.tar.xz") as archive:
            for member in archive:
                if member.isfile():
                    packet = next(fastavro.reader(io.BytesIO(archive.extractfile(member).read())))
                    yield packet.get("schemavsn") or "", packet["candidate"], packet
    with (data / "alerts" / "ztf_alerts_reencoded_dev.avro").open("rb") as file:
        for packet in fastavro.reader(file):
            yield packet.get("schemavsn") or "", packet["candidate"], packet


def alerts(data: Path, every: int = 1, *, issued: bool = True) -> list[RealAlert]:
    """Alerts with three whole stamps, of which each is finite near its middle."""
    found = []
    for number, (version, record, packet) in enumerate(records(data, issued=issued)):
        if number % every:
            continue
        stamps = {ours: _stamp(packet.get(theirs)) for theirs, ours in STAMPS.items()}
        if all(s is not None and s.shape == (SIDE, SIDE) for s in stamps.values()):
            middle = stamps["difference"][HALF - 9 : HALF + 10, HALF - 9 : HALF + 10]
            if np.isfinite(middle).all() and record["aimage"] is not None:
                found.append(RealAlert(version, record, stamps))
    return found


def _stamp(packed) -> np.ndarray | None:
    content = packed["stampData"] if isinstance(packed, dict) else packed
    if not content or content[:2] != b"\x1f\x8b":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a card of theirs is not quite FITS
        return fits.getdata(io.BytesIO(gzip.decompress(content))).astype(np.float32)


def noise_of(stamp: np.ndarray) -> float:
    """Noise of a stamp's pixels beyond 10 px of its middle, robust, DN."""
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    far = stamp[(np.hypot(x, y) > 10) & np.isfinite(stamp)]
    return 1.4826 * float(np.median(np.abs(far - np.median(far))))


def measured(alert: RealAlert, config: MeasureConfig | None = None) -> dict[str, float]:
    """Our measures of the difference stamp, its PSF a Gaussian of the packet's width.

    Stamps are those of the difference in which the candidate is bright, whatever its sign.
    """
    stamp = alert.stamps["difference"]
    noise = max(noise_of(stamp), 1e-3)
    model = model_of(TruePsf(alert.psf_fwhm, (SIDE, SIDE), slope=0.0, ellipticity=0.0, wing=0.0), degree=0)
    square = float((model.stamp(HALF, HALF).astype(float) ** 2).sum())
    x, y = start_of(alert)
    subtraction = Subtraction(
        stamp, np.zeros_like(stamp), np.full_like(stamp, noise), Tiles.of((SIDE, SIDE), 128), (model,),
        np.array([noise]), np.array([square / noise**2]),
    )  # fmt: skip
    peak = Detections(*(np.array([v]) for v in (x, y, float(alert.record.get("scorr") or 5.0), 1.0, 0.0)))
    found = measure(
        subtraction, np.zeros(stamp.shape, np.uint16), peak, float(alert.record.get("magzpsci") or 26.3),
        float(alert.record["diffmaglim"] or np.nan), config or MeasureConfig(),
    )  # fmt: skip
    return {name: float(column[0]) for name, column in found.columns.items()}


def start_of(alert: RealAlert) -> tuple[float, float]:
    """Where the candidate is in its stamp, 0-based px: its middle is the pixel that holds the place."""
    x, y = alert.record["xpos"], alert.record["ypos"]
    return HALF + x - round(x), HALF + y - round(y)
