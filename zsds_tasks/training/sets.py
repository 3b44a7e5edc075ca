"""Labelled candidates of simulated skies, through the real pipeline; kept in a folder of the caller."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.candidate_truth import label_candidates
from zsds_tasks.steps.difference import load_differencing_config, subtract_references
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ScienceSuffix
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.training.configuration import SetsConfig, Sky
from zsds_tasks.training.observatory import build_observatory, merged

SIZE = 63
CHANNELS = ("science", "template", "difference")
REMEDY = "make the labelled sets again"
Images = NDArray[np.float32]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class LabelledSet:
    """Candidates of one or more skies with what they are.

    Parameters
    ----------
    table : pyarrow.Table (n)
        Columns of candidates, and is_real, kind, object_id, mag, separation_arcsec, pass_number,
        sky_name, split, is_natural.
    stamps : numpy.ndarray (n, 3, 63, 63), float16
        Science, reference, difference; divided by 1.4826 MAD of each, which no later step can tell.
    images, megapixels : int, float
        Looked at in the first pass.
    """

    table: pa.Table
    stamps: NDArray[np.float16]
    images: int
    megapixels: float

    def take(self, rows: NDArray[Any]) -> LabelledSet:
        """Return some rows, by number or by truth."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return LabelledSet(self.table.take(pa.array(rows)), self.stamps[rows], self.images, self.megapixels)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array."""
        return np.asarray(self.table.column(name).to_numpy(zero_copy_only=False))

    @classmethod
    def concatenate(cls, parts: Sequence[LabelledSet]) -> LabelledSet:
        """Return all rows of `parts` in order; at least one part."""
        return cls(
            pa.concat_tables([part.table for part in parts]),
            np.concatenate([part.stamps for part in parts]),
            sum(part.images for part in parts),
            sum(part.megapixels for part in parts),
        )


def labelled_set(sky: Sky, config: SetsConfig, include: Path, cache: Path, tell: Tell = print) -> LabelledSet:
    """Return the labelled candidates of one sky, from the cache if they were made before.

    Parameters
    ----------
    sky : Sky
    config : SetsConfig
    include : Path
        Declarations.
    cache : Path
        Folder; the set lies in ``<sky>-<digest of the configuration>``.
    tell : callable
        Called with a sentence now and then.
    """
    folder = cache / f"{sky.name}-{config.digest(sky)}"
    if not (folder / "facts.json").exists():
        work = cache / f".{sky.name}"
        shutil.rmtree(work, ignore_errors=True)
        made = make_set(sky, config, include, work, tell)
        write_set(made, folder)
        shutil.rmtree(work, ignore_errors=True)
    return read_set(folder)


def make_set(sky: Sky, config: SetsConfig, include: Path, folder: Path, tell: Tell = print) -> LabelledSet:
    """Simulate a sky, build its references, subtract them, cut stamps, label every candidate."""
    tell(f"{sky.name}: simulate and calibrate")
    settings = build_observatory(sky, config, include, folder, tell)
    lakehouse = open_lakehouse(settings)
    tell(f"{sky.name}: {_verdicts(lakehouse)}")
    night = ObservingNight.parse(config.nights[1])
    parts = []
    passes = config.forgiving if sky.split == "train" else config.forgiving[:1]
    for number, changes in enumerate(passes):
        wanted = merged({"detect": {"threshold_sigma": config.threshold_sigma}}, {"difference": changes})
        base = load_differencing_config(settings.include)
        this = DifferencingConfig.model_validate(merged(base.model_dump(mode="json"), wanted))
        done = subtract_references(lakehouse, settings, night=str(night), config=this)
        parts.append(_gathered(lakehouse, settings, sky, night, number))
        tell(
            f"{sky.name}: pass {number}: {parts[-1].images} of {done.images} images, {done.waiting} wait, "
            f"{parts[-1].table.num_rows} candidates; {'; '.join(done.failed[:3])}"
        )
    table = pa.concat_tables([part.table for part in parts])
    return LabelledSet(
        table, np.concatenate([part.stamps for part in parts]), parts[0].images, parts[0].megapixels
    )


def _verdicts(lakehouse: Lakehouse) -> str:
    """Return how many images may be used, and why others may not."""
    rows = lakehouse.table("science_images").read(["status", "reason"]).to_pylist()
    usable = sum(row["status"] == 1 for row in rows)
    reasons = sorted({str(row["reason"])[:90] for row in rows if row["status"] != 1})
    return f"{usable} of {len(rows)} images usable" + "".join(f"; {reason}" for reason in reasons[:3])


def _gathered(
    lakehouse: Lakehouse, settings: Settings, sky: Sky, night: ObservingNight, number: int
) -> LabelledSet:
    images = lakehouse.table("difference_images").read(where={"night": str(night), "status": 1}).to_pylist()
    candidates = lakehouse.table("candidates").read(where={"night": str(night)})
    by_candid: dict[int, tuple[bytes, ...]] = {}
    for image in images:
        data = read_stored(lakehouse, image, ScienceSuffix.CUTOUTS.value, remedy=REMEDY)
        stored = pq.read_table(io.BytesIO(data))
        columns = (stored.column(name).to_pylist() for name in CHANNELS)
        by_candid |= dict(zip(stored.column("candid").to_pylist(), zip(*columns, strict=True), strict=True))
    chosen = [one in by_candid for one in candidates.column("candid").to_pylist()]
    candidates = candidates.filter(pa.array(chosen)).sort_by("candid")
    labels = label_candidates(candidates, settings.truth_folder, night, lakehouse)
    stamps = np.full((candidates.num_rows, len(CHANNELS), SIZE, SIZE), np.nan, np.float16)
    places = zip(*(candidates.column(name).to_pylist() for name in ("candid", "xpos", "ypos")), strict=True)
    for row, (candid, x, y) in enumerate(places):
        for channel, data in enumerate(by_candid[candid]):
            stamps[row, channel] = _compact(placed(decode_stamp(data), x, y))
    table = candidates
    for name in ("is_real", "kind", "object_id", "mag", "separation_arcsec"):
        table = table.append_column(name, labels.column(name))
    n = table.num_rows
    constant = {"pass_number": number, "sky_name": sky.name, "split": sky.split, "is_natural": sky.is_natural}
    for name, value in constant.items():
        table = table.append_column(name, pa.array([value] * n))
    return LabelledSet(table, stamps, len(images), len(images) * _megapixels(settings))


def _megapixels(settings: Settings) -> float:
    from zsds_tasks.survey.camera import load_camera  # noqa: PLC0415 - one figure

    quadrant = load_camera(settings.camera, settings.include).quadrant
    return quadrant.nx * quadrant.ny / 1e6


def decode_stamp(data: bytes) -> Images:
    """Return the pixels (ny, nx) float32 of a gzip'd FITS stamp."""
    with fits.open(io.BytesIO(gzip.decompress(data)), memmap=False) as file:
        return np.asarray(file[0].data, np.float32)


def placed(stamp: Images, xpos: float, ypos: float, size: int = SIZE) -> Images:
    """Return a stamp that an edge cut short in a whole one, NaN where there is nothing.

    Only a lower edge moves what is left; the candidate lies in the middle again.
    """
    ny, nx = stamp.shape
    if (ny, nx) == (size, size):
        return stamp
    half = size // 2
    left = max(half - int(np.floor(xpos - 0.5)), 0)
    below = max(half - int(np.floor(ypos - 0.5)), 0)
    whole = np.full((size, size), np.nan, np.float32)
    whole[below : below + ny, left : left + nx] = stamp[: size - below, : size - left]
    return whole


def _compact(stamp: Images) -> Images:
    """Return the stamp in units of its own scatter, so that half precision loses nothing that matters."""
    middle = np.nanmedian(stamp) if np.isfinite(stamp).any() else 0.0
    scatter = 1.4826 * np.nanmedian(np.abs(stamp - middle)) if np.isfinite(stamp).any() else 1.0
    return np.clip(stamp / max(float(scatter), 1e-6), -6e4, 6e4)


def write_set(made: LabelledSet, folder: Path) -> None:
    """Write a set; the file of facts comes last and says that it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(made.table, folder / "candidates.parquet")
    np.save(folder / "stamps.npy", made.stamps)
    kinds = np.unique(made.column("kind"), return_counts=True)
    facts = {
        "images": made.images,
        "megapixels": made.megapixels,
        "kinds": dict(zip(kinds[0].tolist(), kinds[1].tolist(), strict=True)),
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_set(folder: Path) -> LabelledSet:
    """Return a set written by `write_set`."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    table = pq.read_table(folder / "candidates.parquet")
    return LabelledSet(table, np.load(folder / "stamps.npy"), facts["images"], facts["megapixels"])
