"""From a master to its files and its row."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import Card, encode_image
from zsds_tasks.products.masks import MaskBit, legend
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.masters import Image, Master
from zsds_tasks.steps.calibration.mapfiles import encode_maps
from zsds_tasks.survey.camera import Camera, Quadrant
from zsds_tasks.survey.filenames import CalibrationExtension, CalibrationFileName, CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import Survey

Row = dict[str, Any]
COUNTED = {
    "n_low": MaskBit.LOW_RESPONSE,
    "n_high": MaskBit.HIGH_RESPONSE,
    "n_noisy": MaskBit.NOISY,
    "n_dead": MaskBit.DEAD,
    "n_nan": MaskBit.NAN,
}
MEASURES = (
    "bias_night", "level", "scatter", "noise", "offset", "change", "previous_night", *COUNTED,
    "choice", "lin_a", "lin_b", "lin_a_error", "lin_b_error", "average", "n_stars", "rms_before", "rms_after",
    "path", "sha256", "unc_path", "unc_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Label:
    """What a master is, whatever came of it.

    Parameters
    ----------
    night : ObservingNight
    quadrant : Quadrant
    kind : CalibrationKind
    fid : int
        0 for what holds in every filter.
    inputs_digest : str
        See `zsds_tasks.steps.calibration.inputs`.
    """

    night: ObservingNight
    quadrant: Quadrant
    kind: CalibrationKind
    fid: int
    inputs_digest: str


@dataclass(frozen=True)
class Office:
    """Writes files and rows of one installation.

    Parameters
    ----------
    lakehouse : Lakehouse
    camera : Camera
    survey : Survey
    version : str
        Processing version.
    validity_days : int
    """

    lakehouse: Lakehouse
    camera: Camera
    survey: Survey
    version: str
    validity_days: int

    def frame(
        self, label: Label, master: Master | None, verdict: Verdict, surplus: int = 0, **facts: Any
    ) -> Row:
        """Write the files of a bias or flat and return its row; without a master there are no files.

        `surplus` frames were not even read, because enough others were.
        """
        row = self._row(label, verdict) | facts
        if master is None:
            return row
        reasons = [f"{name}: {reason}" for name, reason in master.rejected]
        reasons += [f"{surplus} more than are used at once"] if surplus else []
        row |= {
            "n_frames": len(master.used),
            "n_rejected": len(master.rejected) + surplus,
            "rejections": "; ".join(reasons),
            "level": master.level,
            "scatter": _finite(master.scatter),
            "noise": _finite(master.noise),
        }
        unit = "adu" if label.kind == CalibrationKind.BIAS else ""
        cards = [*self._cards(label, row, unit), *_inputs(master.used)]
        row |= self._put(label, CalibrationExtension.IMAGE, master.image, cards)
        unc = self._put(label, CalibrationExtension.UNCERTAINTY, master.uncertainty, cards)
        return row | {f"unc_{name}": value for name, value in unc.items()}

    def mask(self, label: Label, mask: NDArray[np.uint16] | None, verdict: Verdict, **facts: Any) -> Row:
        """Write the file of a static mask and return its row; without a mask there is no file."""
        row = self._row(label, verdict) | facts
        if mask is None:
            return row
        row |= {name: int(np.count_nonzero(mask & bit.flag)) for name, bit in COUNTED.items()}
        bits: list[Card] = [(name, sentence, "") for name, sentence in legend()]
        cards = [*self._cards(label, row, ""), *bits]
        return row | self._put(label, CalibrationExtension.IMAGE, mask, cards)

    def maps(
        self,
        label: Label,
        images: Mapping[str, NDArray[np.floating]],
        verdict: Verdict,
        cards: Sequence[Card] = (),
        **facts: Any,
    ) -> Row:
        """Write the file of smooth maps, by name, and return its row; without maps there is no file."""
        row = self._row(label, verdict) | facts
        if not images:
            return row
        unit = "s" if label.kind == CalibrationKind.SHUTTER else ""
        data = encode_maps(images, [*self._cards(label, row, unit), *cards])
        return row | self._store(label, CalibrationExtension.IMAGE, data)

    def filter_code(self, fid: int) -> str:
        """Return the code file names carry for a filter, the dark one for 0."""
        return self.survey.filter_by_fid(fid).code if fid else self.survey.dark_filter_code

    def _row(self, label: Label, verdict: Verdict) -> Row:
        start, end = label.night.bounds(self.camera.site.noon_utc_hour)
        around = dt.timedelta(days=self.validity_days)
        return dict.fromkeys(MEASURES) | {
            "night": str(label.night),
            "rcid": label.quadrant.rcid,
            "kind": label.kind.value,
            "fid": label.fid,
            "ccdid": label.quadrant.ccdid,
            "qid": label.quadrant.qid,
            "filtercode": self.filter_code(label.fid),
            "valid_from": start - around,
            "valid_to": end + around,
            "n_frames": 0,
            "n_rejected": 0,
            "rejections": "",
            "offset": verdict.offset,
            "change": verdict.change,
            "accepted": verdict.accepted,
            "reason": verdict.reason,
            "inputs_digest": label.inputs_digest,
            "processing_version": self.version,
        }

    def _cards(self, label: Label, row: Row, unit: str) -> list[Card]:
        observatory = self.camera.observatory
        return [
            ("ORIGIN", observatory.origin, ""),
            ("TELESCOP", observatory.telescope, ""),
            ("INSTRUME", observatory.instrument, ""),
            ("IMGTYPE", label.kind.value, "kind of calibration master"),
            ("BUNIT", unit, "unit of the pixels"),
            ("NIGHT", str(label.night), "observing night of the frames"),
            ("CCDID", row["ccdid"], "CCD"),
            ("QID", row["qid"], "quadrant of the CCD"),
            ("RCID", row["rcid"], "readout channel"),
            ("FILTERID", label.fid, "filter, 0 for none"),
            ("VALIDFRO", f"{row['valid_from']:%Y-%m-%dT%H:%M:%S}", "may be used from (UTC)"),
            ("VALIDTO", f"{row['valid_to']:%Y-%m-%dT%H:%M:%S}", "may not be used any more from (UTC)"),
            ("NFRAMES", row["n_frames"], "frames in it"),
            ("NREJECT", row["n_rejected"], "frames left out"),
            ("BIASNITE", row["bias_night"] or "", "night of the bias subtracted"),
            ("STATUS", int(row["accepted"]), "1 = accepted"),
            ("REASON", row["reason"][:60], ""),
            ("INDIGEST", row["inputs_digest"], ""),
            ("PROCVERS", self.version, "digest of code and configuration"),
        ]

    def _put(
        self,
        label: Label,
        extension: CalibrationExtension,
        image: Image | NDArray[np.uint16],
        cards: Sequence[Card],
    ) -> Row:
        return self._store(label, extension, encode_image(image, cards, name=str(extension.name)))

    def _store(self, label: Label, extension: CalibrationExtension, data: bytes) -> Row:
        name = CalibrationFileName(
            label.night.date,
            self.filter_code(label.fid),
            label.quadrant.ccdid,
            label.quadrant.qid,
            label.kind,
            extension,
            self.survey.file_prefix,
        )
        self.lakehouse.storage.put_bytes_atomically(data, name.path)
        return {"path": name.path, "sha256": hashlib.sha256(data).hexdigest()}


def _inputs(names: Sequence[str]) -> list[Card]:
    return [(f"FRAME{number:03d}", int(name), "exposure") for number, name in enumerate(names, start=1)]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
