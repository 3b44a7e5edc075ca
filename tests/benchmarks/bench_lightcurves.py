"""From rows of catalogues to light curves on disk, beside hats-import and LSDB on the same rows.

Run it by hand: ``python tests/benchmarks/bench_lightcurves.py [images [stars]]``; a Markdown table, processor
time of one process. One full-size quadrant, each of its stars seen in every image that is deep enough.

Ours: rows of the images into the table of sources, one commit each; matching to the stars of the unit,
relative photometry, errors, nested light curves, three more tables; a HATS publication of the light curves.
The peers: hats-import makes a HATS catalogue of the same rows and one of the stars, LSDB finds the nearest
star of each row and writes rows with its number; astropy finds the nearest star, in memory. hats-import is
looked for where Python looks; without it there is none of the first two.
"""
# ruff: noqa: T201 - a benchmark prints its table

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from science_rows import CLEAR, SKY_MAG, Shot, image_rows, source_table, star_field  # noqa: E402 - as above

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402
from zsds_tasks.lakehouse.publish import publish  # noqa: E402
from zsds_tasks.settings import Settings  # noqa: E402
from zsds_tasks.steps.lightcurves import update_lightcurves  # noqa: E402
from zsds_tasks.survey.camera import load_camera  # noqa: E402
from zsds_tasks.survey.fields import load_fields  # noqa: E402
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, ObservingNight, mjd  # noqa: E402

NIGHT, FIELD, FID, RCID = "20251012", 600, 2, 5
MARK = 1_100.0  # rows/s: IPAC's Roman pipeline, database match
RADIUS_ARCSEC = 1.5
PER_DAY = 1500.0  # images


def images_of(settings, count, stars):
    """Return rows of science_images and sources of a quadrant."""
    camera = load_camera("ztf", settings.include)
    centre = load_fields(camera.fields, settings.include).by_id[FIELD]
    start = mjd(dt.datetime.combine(ObservingNight.parse(NIGHT).date, dt.time(4), tzinfo=dt.UTC))
    quadrant, rows, tables = camera.quadrants[RCID], [], []
    for k in range(count):
        jd = start + JD_OF_MJD_ZERO + k / PER_DAY
        shot = Shot(
            int(start % 1000 * 10**5) + 40 * k, NIGHT, jd, 30.0, FIELD, FID, 1, centre.ra, centre.dec, 1.1,
            CLEAR[FID], 2.0, SKY_MAG[FID],
        )  # fmt: skip
        rng = np.random.default_rng([k, RCID])
        image, _ = image_rows(camera, shot, quadrant, rng)
        rows.append(image)
        tables.append(source_table(star_field(camera, shot, quadrant, stars), shot, quadrant, image, rng))
    return rows, tables


def timed(work):
    """Return processor time of this process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def tell(what, rows, seconds, note=""):
    """Print a row of the table."""
    rate = rows / seconds
    print(f"| {what} | {seconds:.2f} | {rate / 1000:,.0f} | {rate / MARK:,.0f} | {note} |", flush=True)


def ours(settings, images, tables):
    """Do it our way; return the light curves' stars."""
    lakehouse, total = open_lakehouse(settings), sum(table.num_rows for table in tables)
    lakehouse.table("science_images").merge(images)

    def deliver():
        for table in tables:
            lakehouse.table("sources").merge(table)

    took = [timed(deliver)[0]]
    tell("ours: rows into sources, a commit an image", total, took[0])
    seconds, done = timed(lambda: update_lightcurves(lakehouse, settings))
    took.append(seconds)
    tell("ours: match, calibrate, nested light curves and their tables", total, seconds,
         f"{done.stars:,} stars, {done.epochs:,} epochs")  # fmt: skip
    took.append(timed(lambda: publish(lakehouse.table("lightcurves")))[0])
    tell("ours: HATS publication", total, took[-1])
    tell("**ours, whole**", total, sum(took))
    return lakehouse.table("seeds").read(["objectid", "ra", "dec"])


def imported(name, files, folder, client):
    """Make a HATS catalogue of Parquet files with hats-import."""
    from hats_import.catalog.arguments import ImportArguments
    from hats_import.catalog.run_import import run

    arguments = ImportArguments(
        output_path=folder, output_artifact_name=name, input_file_list=files, file_reader="parquet",
        ra_column="ra", dec_column="dec", progress_bar=False, pixel_threshold=1_000_000,
    )  # fmt: skip
    run(arguments, client)
    return folder / name


def peers(folder, tables, stars):
    """Do as much of it as hats-import and LSDB do."""
    try:
        import dask
        import hats_import  # noqa: F401 - to know that it is there
        import lsdb
        from dask.distributed import Client
    except ImportError as error:
        print(f"no peer: {error}")
        return
    warnings.simplefilter("ignore")
    total = sum(table.num_rows for table in tables)
    files = []
    for k, table in enumerate([*tables, stars]):
        files.append(folder / f"{k}.parquet")
        pq.write_table(table, files[-1])
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        first, source = timed(lambda: imported("rows", files[:-1], folder, client))
        tell("hats-import of the rows", total, first)
        second, known = timed(lambda: imported("stars", files[-1:], folder, client))
        tell("hats-import of the stars", stars.num_rows, second)

    def crossmatch():
        with dask.config.set(scheduler="synchronous"):
            left, right = lsdb.open_catalog(source), lsdb.open_catalog(known)
            pairs = left.crossmatch(
                right, radius_arcsec=RADIUS_ARCSEC, n_neighbors=1, suffixes=("", "_star"),
                require_right_margin=False,
            )  # fmt: skip
            pairs.write_catalog(folder / "matched", as_collection=False)
            return lsdb.open_catalog(folder / "matched")

    third, matched = timed(crossmatch)
    tell("LSDB crossmatch, written", total, third, f"{len(matched):,} rows")
    tell("**peers, whole**", total, first + second + third)


def astropy_match(tables, stars):
    """Find the nearest star of each row with astropy, in memory."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    def places(rows):
        return SkyCoord(rows["ra"].to_numpy() * units.deg, rows["dec"].to_numpy() * units.deg)

    rows = pa.concat_tables([table.select(["ra", "dec"]) for table in tables])
    seconds, _ = timed(lambda: places(rows).match_to_catalog_sky(places(stars)))
    tell("astropy match_to_catalog_sky, in memory", rows.num_rows, seconds, "nearest star alone")


def main(images=40, planted=30_000):
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="bench-lightcurves-"))
    settings = Settings(var=folder / "var", camera="ztf", workers=1)
    rows, tables = images_of(settings, images, planted)
    warm = Settings(var=folder / "warm", camera="ztf", workers=1)
    few = images_of(warm, 2, 500)
    lakehouse = open_lakehouse(warm)
    lakehouse.table("science_images").merge(few[0])
    for table in few[1]:
        lakehouse.table("sources").merge(table)
    update_lightcurves(lakehouse, warm)  # kernels are loaded
    total = sum(table.num_rows for table in tables)
    print(f"{images} images, {total:,} rows of {len(tables[0].schema)} columns")
    print("| what | core-s | thousand rows/s per core | times the mark | |\n|---|---|---|---|---|")
    seeds = ours(settings, rows, tables)
    stars = pa.table({name: seeds[name] for name in ("objectid", "ra", "dec")})
    astropy_match(tables, stars)
    peers(folder, tables, stars)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
