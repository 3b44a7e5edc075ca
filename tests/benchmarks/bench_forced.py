"""What the forced photometry of a packet costs; rows of docs/benchmarks.md.

    python tests/benchmarks/bench_forced.py [alerts ...]

One quadrant of 3072 x 3080 px: so many alerts on it, and 20 earlier difference images as files on a disk.
Each is opened, the tiles that hold an alert are decoded, and fluxes fitted. Beside it what reading one image
costs otherwise: whole by our decoder, whole by astropy, a cut-out for each alert by astropy's `section`.
"""

import hashlib
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the path comes first
from astropy.io import fits  # noqa: E402 - as above

from zsds_tasks.lakehouse import open_lakehouse  # noqa: E402 - as above
from zsds_tasks.pixels.compressed import decode_image, encode_image  # noqa: E402 - as above
from zsds_tasks.pixels.fits_writer import encode_plain_image  # noqa: E402 - as above
from zsds_tasks.science.forced.measure import ForcedConfig, measure_forced  # noqa: E402 - as above
from zsds_tasks.settings import Settings  # noqa: E402 - as above
from zsds_tasks.steps.alerts.forced import ForcedWork, measure_image  # noqa: E402 - as above
from zsds_tasks.steps.difference.files import TILE_COLUMNS  # noqa: E402 - as above

NY, NX, IMAGES, SCALE = 3080, 3072, 20, 1.012 / 3600
CARDS = [
    ("CTYPE1", "RA---TPV", ""), ("CTYPE2", "DEC--TPV", ""), ("CUNIT1", "deg", ""), ("CUNIT2", "deg", ""),
    ("CRVAL1", 150.0, ""), ("CRVAL2", 2.0, ""), ("CRPIX1", 1536.5, ""), ("CRPIX2", 1540.5, ""),
    ("CD1_1", -SCALE, ""), ("CD1_2", 0.0, ""), ("CD2_1", 0.0, ""), ("CD2_2", SCALE, ""),
]  # fmt: skip
DIFFERENCE, PSF = "scimrefdiffimg.fits.fz", "diffimgpsf.fits"


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write(lakehouse):
    """Store difference images of noise and their PSFs; return the rows that name them."""
    random = np.random.default_rng(5)
    at = np.arange(-12, 13)
    psf = np.exp(-(at[:, None] ** 2 + at**2) / 2.2)
    psf_file = encode_plain_image((psf / psf.sum()).astype(np.float32), [])
    rows = []
    for number in range(IMAGES):
        image = random.normal(0, 6, (NY, NX)).astype(np.float32)
        data = encode_image(image, CARDS, name="DIFFIMG", tile_columns=TILE_COLUMNS)
        path = f"sci/{number}_{DIFFERENCE}"
        lakehouse.storage.put_bytes_atomically(data, path)
        lakehouse.storage.put_bytes_atomically(psf_file, f"sci/{number}_{PSF}")
        products = [f"{hashlib.sha256(d).hexdigest()} {s}" for d, s in ((data, DIFFERENCE), (psf_file, PSF))]
        rows.append({"pid": number, "path": path, "products": products})
    return rows


def core(work):
    began = time.process_time()
    work()
    return time.process_time() - began


def sections(place, x, y):
    with fits.open(place) as hdus:
        for a, b in zip(x, y, strict=True):
            hdus[1].section[int(b) - 12 : int(b) + 13, int(a) - 12 : int(a) + 13]


def measure(count, rows, lakehouse, settings):
    """Measure so many places on every image; return the row of the table."""
    config, random = ForcedConfig(), np.random.default_rng(6)
    x, y = random.uniform(20, NX - 20, count), random.uniform(20, NY - 20, count)
    ra = 150.0 - (x - 1535.5) * SCALE / np.cos(np.radians(2.0))
    dec = 2.0 + (y - 1539.5) * SCALE
    work = [ForcedWork(row, tuple(ra), tuple(dec), 6.2) for row in rows]
    measure_image(work[0], settings, config, lakehouse)
    ours = [core(lambda one=one: measure_image(one, settings, config, lakehouse)) for one in work]
    path = rows[0]["path"]
    place = lakehouse.storage.local_path_or_none(path)
    image = decode_image(place.read_bytes(), subject="x")
    psf = np.ones((25, 25), np.float32) / 625
    fit = core(lambda: measure_forced(image, psf, x, y, 6.2, config))
    whole = core(lambda: decode_image(place.read_bytes(), subject="x"))
    astropy = core(lambda: np.asarray(fits.getdata(place, 1)))
    cuts = core(lambda: sections(place, x, y))
    total = sum(ours)
    return (
        f"| {count} alerts x {IMAGES} images | {total:.2f} core-s, {total / count * 1e3:.1f} ms an alert, "
        f"{total / count / IMAGES * 1e3:.2f} ms a flux, the fit {fit / count * 1e3:.2f} of it | one image: "
        f"ours {np.median(ours):.3f}, read whole {whole:.3f}, astropy whole {astropy:.3f}, astropy sections "
        f"{cuts:.3f} core-s |"
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(var=Path(folder), workers=1)
        lakehouse = open_lakehouse(settings)
        rows = write(lakehouse)
        for count in [int(word) for word in sys.argv[1:]] or [20, 100, 300]:
            say(measure(count, rows, lakehouse, settings))


if __name__ == "__main__":
    main()
