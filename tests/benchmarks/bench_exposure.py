"""One whole exposure of a camera through Ray: raw files to committed rows and product files.

    python tests/benchmarks/bench_exposure.py [ztf|mini] [folder]

Masters and reference catalogues are as planted. The simulation, which is not timed, takes minutes for the
64 quadrants of ztf; a folder that is named is kept, and used again. Errors are against the simulator's truth.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import pickle
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from scipy.spatial import cKDTree

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "steps")]

import science_builder  # noqa: E402 - the path comes first

from zsds_tasks.steps.exposure import process_exposures  # noqa: E402 - as above

WORKERS = 2
MATCH_ARCSEC = 1.0
BRIGHT_SNR = 100.0


class Memory(threading.Thread):
    """Watch the largest resident memory that one process below this one has."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_gb = 0.0
        self.done = threading.Event()

    def run(self) -> None:
        """Look twice a second."""
        while not self.done.wait(0.5):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        self.peak_gb = max(self.peak_gb, process.memory_info().rss / 1e9)
                except psutil.Error:
                    continue


def errors(sources: pa.Table, truth: pa.Table) -> tuple[float, float]:
    """Return robust errors of places (mas, per axis) and magnitudes (mmag, about the median of a channel)."""
    stars = truth.to_pandas()
    stars = stars[stars.kind.isin(["star", "variable"]) & (stars.flux_dn > 0)]
    found = sources.to_pandas()
    found = found[(found.snr > BRIGHT_SNR) & (found["flags"] == 0)]
    places, light = [], []
    for rcid, rows in found.groupby("rcid"):
        of_channel = stars[stars.rcid == rcid]
        near, own = _plane(of_channel, rows), _plane(rows, rows)
        distance, partner = cKDTree(near).query(own)
        hit = distance < MATCH_ARCSEC
        places.append((own - near[partner])[hit] * 1e3)
        change = rows["mag"].to_numpy()[hit] + 2.5 * np.log10(of_channel.flux_dn.to_numpy()[partner[hit]])
        light.append(change - np.median(change))
    return robust(np.concatenate(places).ravel()), 1e3 * robust(np.concatenate(light))


def _plane(rows, around) -> np.ndarray:
    """Return places in arcsec about the mean of `around`."""
    ra, dec = around["ra"].mean(), around["dec"].mean()
    east = (rows["ra"].to_numpy() - ra) * np.cos(np.radians(rows["dec"].to_numpy())) * 3600
    return np.stack([east, (rows["dec"].to_numpy() - dec) * 3600], axis=1)


def robust(values: np.ndarray) -> float:
    """Scatter about the median, by the MAD."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def observatory(camera: str, folder: Path) -> science_builder.Observatory:
    """Make the installation, or take a copy of the one that an earlier run has left."""
    kept = folder / "observatory.pickle"
    if not kept.exists():
        made = science_builder.template(folder / "template", camera=camera, science=1, workers=WORKERS)
        kept.write_bytes(pickle.dumps(made))
    shutil.rmtree(folder / "worked", ignore_errors=True)
    return science_builder.copy_of(pickle.loads(kept.read_bytes()), folder / "worked")  # noqa: S301 - our own


def measure(place: science_builder.Observatory, camera: str) -> None:
    """Process the exposure and print what it cost and how good it is."""
    memory = Memory()
    memory.start()
    done = process_exposures(place.lakehouse, place.settings, science_builder.NOW)
    memory.done.set()
    memory.join()
    for failure in done.failed:
        print(f"failed: {failure}")
    columns = ["rcid", "ra", "dec", "mag", "snr", "flags"]
    place_mas, light_mmag = errors(place.lakehouse.table("sources").read(columns), place.detections)
    print(
        f"{camera}: {done.quadrants} quadrants, {done.sources} sources, {len(done.failed)} failed, "
        f"{done.flagged} flagged; {done.seconds:.0f} s with {WORKERS} workers, "
        f"{done.core_seconds / done.quadrants:.2f} core-s per quadrant with products, "
        f"{memory.peak_gb:.2f} GB the largest worker; "
        f"places {place_mas:.1f} mas, magnitudes {light_mmag:.1f} mmag"
    )


def main() -> None:
    """Make, process, print."""
    words = sys.argv[1:]
    camera = words[0] if words else "ztf"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(words[1]) if words[1:] else Path(temporary)
        measure(observatory(camera, folder), camera)


if __name__ == "__main__":
    main()
