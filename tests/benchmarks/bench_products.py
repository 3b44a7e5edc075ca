"""Measure the writing and reading of products against astropy and fitsio in the same run, on the same arrays.

    python tests/benchmarks/bench_products.py [repeats]

A 3072 x 3080 image of noise, stars and undefined pixels on a sky; its mask; a table of 10,000 rows and 40
columns. What each writer made is opened with astropy and compared within the step of quantisation. Seconds
are of processor time, the median of some repeats, one thread. fitsio is no dependency: put it on the path.
"""

import io
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np  # noqa: E402 - the path comes first
from astropy.io import fits  # noqa: E402 - the path comes first

from zsds_tasks.pixels.compressed import (  # noqa: E402 - the path comes first
    QUANTIZE_LEVEL,
    decode_image,
    encode_image,
    encode_uncertainty,
)
from zsds_tasks.pixels.fits_tables import encode_table  # noqa: E402 - as above
from zsds_tasks.pixels.fits_writer import format_header  # noqa: E402 - as above
from zsds_tasks.pixels.mesh import Mesh, mesh_shape  # noqa: E402 - as above

try:
    import fitsio
except ImportError:
    fitsio = None

SHAPE = (3080, 3072)
NOISE, GAIN, BAD, SEEN = 5.0, 6.2, 1 << 8, 1 << 1
OPTIONS = {"quantize_level": QUANTIZE_LEVEL, "quantize_method": 1, "dither_seed": 1}


def clocked(function, repeats):
    """Return the result and the median of core seconds; the first call warms up."""
    result, seconds = function(), []
    for _ in range(repeats):
        core = time.process_time()
        result = function()
        seconds.append(time.process_time() - core)
    return result, float(np.median(seconds))


def scene(rng):
    image = rng.normal(0, NOISE, SHAPE).astype(np.float32)
    ky, kx = np.mgrid[-6:7, -6:7]
    star = np.exp(-(kx**2 + ky**2) / 2)
    for y, x, peak in zip(
        rng.integers(6, SHAPE[0] - 6, 10_000),
        rng.integers(6, SHAPE[1] - 6, 10_000),
        rng.pareto(1, 10_000),
        strict=True,
    ):
        image[y - 6 : y + 7, x - 6 : x + 7] += min(peak * 20, 50_000) * star
    mask = np.where(image > 4 * NOISE, SEEN, 0).astype(np.uint16)
    dead = rng.random(SHAPE, dtype=np.float32) < 1e-3
    mask[dead] |= BAD
    image[dead] = np.nan
    return image, mask


def catalogue(rng, rows=10_000):
    kinds = ["f4", "f8", "i4", "i2"]
    return {f"c{n}": (rng.normal(0, 1000, rows).astype(kinds[n % 4]), "adu") for n in range(40)}


def by_astropy(array, **options):
    stream = io.BytesIO()
    hdu = fits.CompImageHDU(array, compression_type="RICE_1", **options)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream, checksum=True)
    return stream.getvalue()


def table_by_astropy(columns):
    codes = {"f4": "E", "f8": "D", "i4": "J", "i2": "I"}
    made = [
        fits.Column(name=name, array=values, unit=unit, format=codes[values.dtype.str[1:]])
        for name, (values, unit) in columns.items()
    ]
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(stream, checksum=True)
    return stream.getvalue()


def by_fitsio(array, **options):
    with fitsio.FITS("mem://", "rw") as file:
        file.write(array, **options)
        file[-1].write_checksum()
        return file.read_raw()


def table_by_fitsio(columns):
    with fitsio.FITS("mem://", "rw") as file:
        file.write({name: values for name, (values, _) in columns.items()}, units=["adu"] * len(columns))
        file[-1].write_checksum()
        return file.read_raw()


def read_by_astropy(data):
    with fits.open(io.BytesIO(data)) as hdus:
        return hdus[1].data


def say(what, core, note=""):
    sys.stdout.write(f"| {what} | {core:.3f} | {note} |\n")


def within(data, array):
    """Say how far a file, opened with astropy, is from what was written."""
    found = read_by_astropy(data)
    if array.dtype.kind != "f":
        return "exact" if np.array_equal(found, array) else "WRONG"
    step = NOISE / QUANTIZE_LEVEL
    far = float(np.nanmax(np.abs(found.astype(np.float64) - array)))
    same = np.array_equal(np.isnan(found), np.isnan(array))
    return f"off by at most {far / step:.2f} steps, NaN {'kept' if same else 'LOST'}"


def images(repeats, image, mask):
    size = "{:.1f} MB; {}"
    sky = Mesh(np.full(mesh_shape(SHAPE, 256), 120, np.float32), 256, SHAPE)
    noise = Mesh.constant(NOISE, SHAPE)
    data, core = clocked(lambda: encode_image(image, [], name="IMAGE"), repeats)
    say("write float image", core, size.format(len(data) / 1e6, within(data, image)))
    added, core = clocked(lambda: encode_image(image, [], name="IMAGE", add=sky), repeats)
    say(
        "write float image, sky added on the way",
        core,
        size.format(len(added) / 1e6, within(added, image + 120)),
    )
    made, core = clocked(
        lambda: encode_uncertainty(image, noise, GAIN, [], name="UNC", mask=mask, bits=BAD), repeats
    )
    say("write its uncertainty, made on the way", core, f"{len(made) / 1e6:.1f} MB")
    theirs, core = clocked(lambda: by_astropy(image, **OPTIONS), repeats)
    say("peer: astropy, row by row", core, size.format(len(theirs) / 1e6, within(theirs, image)))
    theirs, core = clocked(lambda: by_astropy(image, tile_shape=(32, SHAPE[1]), **OPTIONS), repeats)
    say("peer: astropy, tiles of 32 rows", core, size.format(len(theirs) / 1e6, within(theirs, image)))
    if fitsio:
        options = {"compress": "rice", "qlevel": QUANTIZE_LEVEL, "qmethod": 1, "dither_seed": 1}
        theirs, core = clocked(lambda: by_fitsio(image, **options), repeats)
        say("peer: fitsio, row by row", core, size.format(len(theirs) / 1e6, within(theirs, image)))
    ours, core = clocked(lambda: decode_image(data, subject="bench"), repeats)
    buffer = np.empty(SHAPE, np.float32)
    say("read float image", core)
    _, core = clocked(lambda: decode_image(data, subject="bench", out=buffer), repeats)
    say("read float image into a buffer", core)
    theirs, core = clocked(lambda: np.asarray(read_by_astropy(data)), repeats)
    say(
        "peer: astropy, the same file",
        core,
        "equal" if np.array_equal(ours, theirs, equal_nan=True) else "DIFFERENT",
    )
    data, core = clocked(lambda: encode_image(mask, [], name="MASK"), repeats)
    say("write mask", core, size.format(len(data) / 1e6, within(data, mask)))
    theirs, core = clocked(lambda: by_astropy(mask, tile_shape=(32, SHAPE[1])), repeats)
    say("peer: astropy, tiles of 32 rows", core, size.format(len(theirs) / 1e6, within(theirs, mask)))
    if fitsio:
        theirs, core = clocked(lambda: by_fitsio(mask, compress="rice"), repeats)
        say("peer: fitsio, row by row", core, size.format(len(theirs) / 1e6, within(theirs, mask)))
    _, core = clocked(lambda: decode_image(data, subject="bench"), repeats)
    say("read mask", core)
    _, core = clocked(lambda: np.asarray(read_by_astropy(data)), repeats)
    say("peer: astropy, the same file", core)


def tables(repeats, columns):
    def same(data):
        found = read_by_astropy(data)
        return "equal" if all(np.array_equal(found[name], v) for name, (v, _) in columns.items()) else "WRONG"

    data, core = clocked(lambda: encode_table(columns, [], name="CAT"), repeats)
    say("write table of 10,000 x 40", core, same(data))
    theirs, core = clocked(lambda: table_by_astropy(columns), repeats)
    say("peer: astropy", core, same(theirs))
    if fitsio:
        theirs, core = clocked(lambda: table_by_fitsio(columns), repeats)
        say("peer: fitsio", core, same(theirs))
    cards = [(f"KEY{n}", 1.5 * n, "a comment") for n in range(100)]
    _, core = clocked(lambda: format_header(cards), repeats)
    say("header of 100 cards", core)
    _, core = clocked(lambda: fits.Header(cards).tostring(), repeats)
    say("peer: astropy", core)


def main(repeats=5):
    rng = np.random.default_rng(1)
    sys.stdout.write(f"{SHAPE[1]} x {SHAPE[0]} pixels, median of {repeats}, one thread\n")
    if fitsio is None:
        sys.stdout.write("fitsio: peer not installed\n")
    sys.stdout.write("| what | core-s | note |\n|---|---|---|\n")
    images(repeats, *scene(rng))
    tables(repeats, catalogue(rng))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
