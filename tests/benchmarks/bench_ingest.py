"""Measure raw ingest and quick-look; print a row of docs/benchmarks.md for each.

    python tests/benchmarks/bench_ingest.py [camera] [exposures]

Frames are seeded noise of the camera's own shape. The peer is the same verification by astropy: open, verify
DATASUM and CHECKSUM, decode every image.
"""

import datetime as dt
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from astropy.io import fits  # noqa: E402 - the path comes first
from builders import NIGHT_START, NOW, REPOSITORY, FrameBuilder  # noqa: E402 - the path comes first

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402 - the path comes first
from zsds_tasks.science.raw import RawRules, VerificationConfig, verify  # noqa: E402 - the path comes first
from zsds_tasks.settings import Settings  # noqa: E402 - the path comes first
from zsds_tasks.steps.incoming import IncomingConfig  # noqa: E402 - the path comes first
from zsds_tasks.steps.quality import assess_raw  # noqa: E402 - the path comes first
from zsds_tasks.steps.raw import RawConfig, ingest  # noqa: E402 - the path comes first


def clocked(function):
    """Return the result, wall seconds and core seconds of a call."""
    wall, core = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - core


def by_astropy(data):
    with fits.open(io.BytesIO(data), checksum=True) as file:
        return [hdu.data for hdu in file[1:]]


def say(text):
    sys.stdout.write(text + "\n")


def row(what, n_files, megapixels, wall, core):
    rate = f"{n_files / wall:.1f}" if n_files > 1 else "-"
    say(f"| {what} | {rate} | {core / megapixels:.4f} | {core:.2f} |")


def main(camera="mini", exposures=40):
    include = REPOSITORY / "include"
    frames = FrameBuilder.of(camera, include)
    folder = Path(tempfile.mkdtemp(prefix="bench-ingest-"))
    settings = Settings(var=folder, include=include, camera=camera, workers=1)
    settings.incoming_folder.mkdir(parents=True)
    shape = frames.camera.quadrant
    per_file = 4 * shape.ny * (shape.nx + shape.overscan) / 1e6
    names = []
    for number in range(exposures):
        for ccdid in frames.camera.ccdids:
            start = NIGHT_START + dt.timedelta(seconds=60 * number)
            name, data = frames.build(start, ccdid, imgtypecode="b", filtercode="OO", programid=0)
            (settings.incoming_folder / name).write_bytes(data)
            names.append((name, len(data)))
    rules = RawRules.load(camera, include, VerificationConfig(), NOW)
    verify(data, name, rules)
    pixels = per_file * len(names)
    say(
        f"camera {camera}: {len(names)} files of {per_file:.2f} Mpx, {names[-1][1] / 1e6:.1f} MB; "
        f"{os.cpu_count()} cores"
    )
    say("| what | files/s, one process | core-s per megapixel | core-s |")
    say("|---|---|---|---|")
    _, wall, core = clocked(lambda: [verify(data, name, rules) for _ in range(5)])
    row("verify one file (hash excluded), mean of 5", 5, 5 * per_file, wall, core)
    _, wall, core = clocked(lambda: [by_astropy(data) for _ in range(5)])
    row("peer: astropy opens, verifies checksums, decodes; mean of 5", 5, 5 * per_file, wall, core)
    lakehouse = open_lakehouse(settings)
    config = RawConfig(incoming=IncomingConfig(settle_s=0.0), parallel_mb=1e9)
    _, wall, core = clocked(lambda: ingest(lakehouse, settings, NOW, config=config))
    row("ingest: verify, hash, archive, register", len(names), pixels, wall, core)
    _, wall, core = clocked(lambda: assess_raw(lakehouse, settings, NOW + dt.timedelta(days=1)))
    row("quick-look: decode, measure, register", len(names), pixels, wall, core)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(count) for count in sys.argv[2:3]))
