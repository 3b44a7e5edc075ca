"""Candidates with stamps that are plainly real or plainly not, small models, and real alerts as ours."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from zsds_tasks.training.sets import LabelledSet, placed

SIZE = 63
QUADRANT_PIXELS_FROM_1 = 1.0
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def stamps_of(is_real, seed=1):
    """Triplets (n, 3, 63, 63): a point that is new, or a spike or a dipole."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    out = rng.normal(0, 1, (len(is_real), 3, SIZE, SIZE))
    for k, real in enumerate(is_real):
        strength, (dx, dy) = rng.uniform(8, 40), rng.uniform(-0.5, 0.5, 2)
        point = strength * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 2)
        if real:
            out[k, 0] += point
            out[k, 2] += point
        elif k % 2:
            out[k, [0, 2], SIZE // 2, SIZE // 2] += 3 * strength
        else:
            star = 10 * point
            out[k, 0] += star
            out[k, 1] += np.roll(star, 1, axis=1)
            out[k, 2] += (star - np.roll(star, 2, axis=1)) / 10
    return out.astype(np.float32)


def candidates_of(truth, seed=1, **columns):
    """A table with the measures that features need."""
    rng = np.random.default_rng(seed)
    n, real = len(truth), np.asarray(truth)
    scorr = rng.uniform(5, 40, n)
    values = {
        "candid": np.arange(n),
        "scorr": scorr,
        "chipsf": np.where(real, rng.normal(1, 0.1, n), rng.normal(2, 0.4, n)),
        "magdiff": rng.normal(0, 0.1, n),
        "magap": np.full(n, 19.0),
        "magapbig": np.full(n, 19.0),
        "magpsf": np.full(n, 19.0),
        "sigmapsf": 1.0857 / scorr,
        "fwhm": np.full(n, 2.5),
        "magnr": rng.uniform(15, 21, n),
        "seeratio": np.where(real, rng.normal(1, 0.1, n), rng.normal(1.5, 0.3, n)),
        "aimagerat": np.full(n, 0.4),
        "bimagerat": np.full(n, 0.4),
        "elong": np.full(n, 1.1),
        "nneg": np.where(real, rng.integers(0, 3, n), rng.integers(4, 12, n)),
        "nbad": np.zeros(n, int),
        "sumrat": np.where(real, 0.95, rng.uniform(0, 0.8, n)),
        "dsnrms": scorr * 0.8,
        "ssnrms": scorr * 0.95,
        "snr": scorr,
        "dipole": np.where(real, 0.1, 0.7),
        "sky": np.zeros(n),
        "flux": np.full(n, 100.0),
        "distnr": rng.uniform(0, 20, n),
        "sharpnr": np.zeros(n),
        "chinr": np.ones(n),
        "mindtoedge": np.full(n, 200.0),
        "night": np.full(n, "20251012"),
    }
    return pa.table(values | columns)


def labelled(n, split, seed):
    """A labelled set without a simulation."""
    is_real = np.arange(n) % 3 > 0
    kind = np.where(is_real, np.array(["transient", "variable"])[np.arange(n) % 2], "noise")
    table = candidates_of(
        is_real, seed, is_real=is_real, kind=kind, sky_name=np.full(n, f"{split}-{seed}"),
        split=np.full(n, split), pass_number=np.zeros(n, int), is_natural=np.zeros(n, bool),
        rb=np.zeros(n),
    )  # fmt: skip
    return LabelledSet(table, stamps_of(is_real, seed).astype(np.float16), 1, 1.0)


def real_alerts(folder: Path):
    """Real packets with stamps: candidates as a table, stamps (n, 3, 63, 63), weak labels as a frame."""
    index = pq.read_table(folder / "alerts" / "ztf_alerts_index_dev.parquet").to_pandas().set_index("candid")
    rows, stamps = [], []
    for packet in _packets(folder / "alerts"):
        candidate = packet["candidate"]
        if candidate["candid"] not in index.index or not packet.get("cutoutScience"):
            continue
        images = [packet[name]["stampData"] for name in CUTOUTS]
        if any(image[:2] != b"\x1f\x8b" for image in images):
            continue  # prototypes carry JPEG
        x, y = candidate["xpos"], candidate["ypos"]
        stamps.append([placed(_pixels(image), x, y) for image in images])
        rows.append(candidate)
    names = sorted(set().union(*rows))
    table = {name: [row.get(name) for row in rows] for name in names}
    numeric = {
        name: pa.array([np.nan if v is None or v == -999.0 else float(v) for v in values])
        for name, values in table.items()
        if all(v is None or isinstance(v, (int, float)) for v in values) and name != "candid"
    }
    candidates = pa.table({"candid": table["candid"]} | numeric)
    zero = candidates["magzpsci"].to_numpy() if "magzpsci" in numeric else np.full(len(rows), np.nan)
    zero = np.where(np.isfinite(zero), zero, 26.2)
    flux = 10 ** (-0.4 * (candidates["magpsf"].to_numpy() - zero))
    snr = 1.0857 / candidates["sigmapsf"].to_numpy()
    candidates = candidates.append_column("flux", pa.array(flux)).append_column("snr", pa.array(snr))
    labels = index.loc[candidates["candid"].to_pylist()].reset_index()
    return candidates, np.array(stamps, np.float32), labels


def _packets(folder: Path):
    with (folder / "ztf_alerts_reencoded_dev.avro").open("rb") as file:
        yield from fastavro.reader(file)
    with lzma.open(folder / "ztf_packets_dev.tar.xz") as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content and member.name.endswith(".avro"):
                yield from fastavro.reader(io.BytesIO(content.read()))


def _pixels(data: bytes):
    with fits.open(
        io.BytesIO(gzip.decompress(data)), ignore_missing_end=True, output_verify="ignore"
    ) as file:
        return np.asarray(file[0].data, np.float32)
