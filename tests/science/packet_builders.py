"""Packets and tables of candidates for tests: seeded, and full of nulls where the schema allows them."""

import gzip
import io
import tarfile
from functools import lru_cache

import fastavro
import numpy as np
import pyarrow as pa

from zsds_tasks.products.packets import load_packet_schema
from zsds_tasks.science.alerts.cutouts import CutoutConfig, cut_triplet, name_cutouts

PID = 2475433850015
ARROW = {
    "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(),
    "string": pa.string(), "bytes": pa.binary(),
}  # fmt: skip


def arrow_schema(record):
    return pa.schema([(field.name, ARROW[field.kind]) for field in record.fields if field.kind in ARROW])


@lru_cache(maxsize=1)
def real_packets(folder):
    """Return (bytes, packet, JSON schema) of each real packet that has gzip'd stamps and a schema version."""
    found = []
    with tarfile.open(folder / "alerts" / "ztf_packets_dev.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                data = archive.extractfile(member).read()
                reader = fastavro.reader(io.BytesIO(data))
                found.append((data, next(reader), reader.metadata["avro.schema"]))
    return found


def make_value(kind, rng):
    return {
        "int": lambda: int(rng.integers(-(2**31), 2**31)),
        "long": lambda: int(rng.integers(-(2**63), 2**63 - 1)),
        "float": lambda: float(np.float32(rng.normal(0, 100))),
        "double": lambda: float(rng.normal(0, 1e4)),
        "string": lambda: "".join(chr(c) for c in rng.integers(32, 0x3B1, rng.integers(0, 12))),
        "bytes": lambda: rng.bytes(int(rng.integers(0, 300))),
    }[kind]()


SMALL = {
    "fid": 4,
    "programid": 4,
    "rcid": 64,
    "field": 2000,
    "nneg": 25,
    "nbad": 5,
    "tooflag": 2,
    "tblid": 300,
}
WORDS = {
    "programpi": "Kulkarni",
    "isdiffpos": "t",
    "rbversion": "t17_f5_c3",
    "drbversion": "d6_m7",
    "procstatus": "0",
    "pdiffimfilename": "ztf_20231012433727_000505_zg_c01_o_q1_scimrefdiffimg.fits.fz",
    "ssnamenr": "null",
}


def make_usual(record, rng):
    """Fill a record with values of the size and sameness that real ones have; no nulls."""
    row = {}
    for field in record.fields:
        if field.kind in {"int", "long"}:
            row[field.name] = int(rng.integers(0, SMALL.get(field.name, 3000)))
        elif field.kind == "string":
            row[field.name] = WORDS[field.name]
        else:
            row[field.name] = float(np.float32(rng.normal(15, 5)))
    return row


def make_record(record, rng, nulls=0.3, rows=3):
    """Fill a record with anything its types allow."""
    row = {}
    for field in record.fields:
        if field.is_nullable and rng.random() < nulls:
            row[field.name] = None
        elif field.is_array:
            row[field.name] = [
                make_record(field.record, rng, nulls) for _ in range(int(rng.integers(0, rows)))
            ]
        elif field.record is not None:
            row[field.name] = make_record(field.record, rng, nulls)
        else:
            row[field.name] = make_value(field.kind, rng)
    return row


def make_typical_packet(rng, n_previous=30, n_forced=30):
    """Return a packet as a night makes it: half of the history upper limits, three whole stamps of noise."""
    schema = load_packet_schema()
    packet = make_record(schema.alert, rng, nulls=0.0, rows=1)
    detection, limit = schema.record("prv_candidate"), (
        "jd", "fid", "pid", "diffmaglim", "pdiffimfilename", "programpi", "programid", "nid", "rcid", "field",
        "rbversion",
    )  # fmt: skip
    previous = [make_record(detection, rng, nulls=0.0) for _ in range(n_previous)]
    for row in previous[::2]:
        row.update({name: None for name in row if name not in limit})
    images = tuple(rng.normal(200, 15, (63, 63)).astype(np.float32) for _ in range(3))
    stamps = cut_triplet(images, 32, 32, CutoutConfig(), is_positive=True)
    return packet | {
        "prv_candidates": previous,
        "fp_hists": [make_record(schema.record("fp_hist"), rng, nulls=0.0) for _ in range(n_forced)],
        **name_cutouts(packet["candid"], PID, stamps, is_positive=True),
    }


def broker_pixels(stamp):
    """Read a stamp as code of the brokers does that was written for ZTF's own packets."""
    from astropy.io import fits

    with (
        gzip.open(io.BytesIO(stamp["stampData"]), "rb") as stream,
        fits.open(io.BytesIO(stream.read()), ignore_missing_simple=True) as hdus,
    ):
        return hdus[0].data, hdus[0].header
