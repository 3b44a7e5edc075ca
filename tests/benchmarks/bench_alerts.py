"""Packets per second and core, from tables and pixels to bytes; rows of docs/benchmarks.md.

    python tests/benchmarks/bench_alerts.py [candidates]

Each candidate has 30 earlier exposures (half of them upper limits) and 30 forced points, three stamps, and a
schema inside. Peers get the same packets and stamps: fastavro; astropy.io.fits with gzip.
"""

import gzip
import io
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "science")]

import fastavro  # noqa: E402 - the path comes first
import numpy as np  # noqa: E402 - as above
import pyarrow as pa  # noqa: E402 - as above
from astropy.io import fits  # noqa: E402 - as above
from packet_builders import arrow_schema, make_usual  # noqa: E402 - as above

from zsds_tasks.products.packets import load_packet_schema  # noqa: E402 - as above
from zsds_tasks.science.alerts.assemble import PacketConfig, assemble  # noqa: E402 - as above
from zsds_tasks.science.alerts.cutouts import CutoutConfig, cut_triplet, name_cutouts  # noqa: E402 - as above
from zsds_tasks.science.alerts.encode import PacketEncoder  # noqa: E402 - as above
from zsds_tasks.science.alerts.history import LIMIT_FIELDS, History, HistoryConfig  # noqa: E402 - as above
from zsds_tasks.science.alerts.rows import rows_of  # noqa: E402 - as above
from zsds_tasks.science.alerts.select import TriggerConfig, select_alerts  # noqa: E402 - as above
from zsds_tasks.science.naming.allot import Detections, NamingConfig, Objects, allot_names  # noqa: E402 - as above
from zsds_tasks.science.naming.grammar import ObjectName  # noqa: E402 - as above

SCHEMA = load_packet_schema()
PREVIOUS, FORCED, CANDIDATE = (SCHEMA.record(name) for name in ("prv_candidate", "fp_hist", "candidate"))
JD, NID, SIDE_DEG, DEPTH = 2460961.75, 3207, 0.86, 30
NO_ASTEROID = dict.fromkeys(("ssdistnr", "ssmagnr", "ssnamenr"))
GOOD = {"magpsf": 19.0, "sigmapsf": 0.1, "nbad": 0, "fwhm": 2.5, "elong": 1.1, "magdiff": 0.05, "rb": 0.5}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def scene(count, rng):
    """Return tables of one quadrant: candidates, earlier detections, earlier images, forced photometry."""
    ra, dec = rng.uniform(0.1, SIDE_DEG - 0.1, count), rng.uniform(0.1, SIDE_DEG - 0.1, count)
    pid = NID * 10**9 + 43385 * 10_000 + 15
    here = [
        make_usual(CANDIDATE, rng)
        | GOOD
        | {"ra": ra[k], "dec": dec[k], "jd": JD, "nid": NID, "programid": 1}
        | {"pid": pid, "candid": pid * 10**6 + 15000 + k}
        | {"xpos": float(rng.uniform(40, 3000)), "ypos": float(rng.uniform(40, 3000)), "isdiffpos": "t"}
        for k in range(count)
    ]  # fmt: skip
    exposures = [(JD - 1 - 0.9 * n, (NID * 100_000 - 100_000 - 90_000 * n)) for n in range(DEPTH)]
    images = [
        dict.fromkeys(LIMIT_FIELDS)
        | {"jd": jd, "pid": number * 10_000 + 15, "fid": 1 + n % 2, "programid": 1, "rbversion": "t17_f5_c3"}
        | {
            "diffmaglim": 20.5,
            "pdiffimfilename": f"ztf_{number}.fits.fz",
            "programpi": "x",
            "rcid": 0,
            "field": 505,
        }
        | {f"ra{i}": x for i, x in enumerate((0, SIDE_DEG, SIDE_DEG, 0), 1)}
        | {f"dec{i}": y for i, y in enumerate((0, 0, SIDE_DEG, SIDE_DEG), 1)}
        for n, (jd, number) in enumerate(exposures)
    ]
    detections, forced = [], []
    for k in range(count):
        for n, (jd, number) in enumerate(exposures):
            place = {
                "ra": ra[k] + rng.normal(0, 5e-5),
                "dec": dec[k] + rng.normal(0, 5e-5),
                "jd": jd,
                "programid": 1,
            }
            if n % 2:
                ids = {"pid": number * 10_000 + 15, "candid": (number * 10_000 + 15) * 10**6 + k}
                detections.append(make_usual(PREVIOUS, rng) | NO_ASTEROID | place | ids)
            forced.append(
                make_usual(FORCED, rng)
                | place
                | {"nid": NID - 1 - n, "fid": 1, "pid": number * 10_000 + 15, "rfid": 505120100}
            )
    corners = [(f"{axis}{i}", pa.float64()) for i in range(1, 5) for axis in ("ra", "dec")]
    limits = arrow_schema(PREVIOUS)
    place = [("ra", pa.float64()), ("dec", pa.float64()), ("nid", pa.int32())]
    return (
        pa.Table.from_pylist(here, arrow_schema(CANDIDATE)),
        pa.Table.from_pylist(detections, limits),
        pa.Table.from_pylist(images, pa.schema([limits.field(name) for name in LIMIT_FIELDS] + corners)),
        pa.Table.from_pylist(forced, pa.schema([*arrow_schema(FORCED), *place])),
    )


class Clock:
    """Core-seconds by name."""

    def __init__(self):
        self.spent = {}

    def take(self, name, work):
        start = time.process_time()
        result = work()
        self.spent.setdefault(name, []).append(time.process_time() - start)
        return result


def ours(tables, images, clock):
    """Go the whole way once; return packets and bytes."""
    candidates, detections, earlier, forced = tables
    chosen = clock.take("select", lambda: select_alerts(candidates, TriggerConfig()))
    candidates = candidates.filter(pa.array(chosen.triggers))
    here = {name: candidates.column(name).to_numpy() for name in ("candid", "ra", "dec")}
    nobody = Objects((), np.empty(0), np.empty(0), np.empty(0))
    named = clock.take(
        "names",
        lambda: allot_names(nobody, Detections(**here, jd=JD), ObjectName(2025, 0), NamingConfig()),
    )
    past = clock.take(
        "history: match, rows",
        lambda: History(candidates, detections, earlier, forced, SCHEMA, HistoryConfig()),
    )
    rows = clock.take("candidates to rows", lambda: rows_of(candidates, CANDIDATE))
    stamps = clock.take(
        "stamps",
        lambda: [cut_triplet(images, r["xpos"], r["ypos"], CutoutConfig(), is_positive=True) for r in rows],
    )
    packets = clock.take(
        "assemble",
        lambda: [
            assemble(
                row, str(name), past.previous(k), past.forced(k),
                name_cutouts(row["candid"], row["pid"], stamp, is_positive=True), SCHEMA, PacketConfig(),
            )
            for k, (row, name, stamp) in enumerate(zip(rows, named.names, stamps, strict=True))
        ],
    )  # fmt: skip
    encoder = PacketEncoder(SCHEMA)
    return packets, clock.take("encode", lambda: [encoder.encode(packet) for packet in packets])


def peer_stamp(image, x, y):
    """Encode a stamp as one would with astropy."""
    from astropy.nddata import Cutout2D

    hdu = fits.PrimaryHDU(Cutout2D(image, (x - 1, y - 1), 63, mode="trim").data)
    hdu.header["BUNIT"] = "DN"
    stream = io.BytesIO()
    hdu.writeto(stream)
    return gzip.compress(stream.getvalue(), mtime=0)


def peers(packets, images, clock):
    parsed = fastavro.parse_schema(json.loads(SCHEMA.text))
    for packet in packets:
        place = packet["candidate"]["xpos"], packet["candidate"]["ypos"]
        clock.take("astropy stamps", lambda place=place: [peer_stamp(image, *place) for image in images])
        clock.take("fastavro", lambda packet=packet: fastavro.writer(io.BytesIO(), parsed, [packet]))
    return {name: sum(clock.spent[name]) / len(packets) for name in ("astropy stamps", "fastavro")}


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rng = np.random.default_rng(77)
    tables = scene(count, rng)
    images = tuple(rng.normal(200, 15, (3080, 3072)).astype(np.float32) for _ in range(3))
    for image in images:
        image[1000:1200] += 500  # not all stamps are flat
    clock = Clock()
    for _ in range(5):
        packets, data = ours(tables, images, clock)
    depth = statistics.mean(len(packet["prv_candidates"]) for packet in packets)
    forced = statistics.mean(len(packet["fp_hists"]) for packet in packets)
    size = statistics.mean(map(len, data))
    say(f"{count} candidates; {depth:.0f} earlier exposures, {forced:.0f} forced points, {size:.0f} B each")
    total = 0.0
    for name, seconds in clock.spent.items():
        best = statistics.median(seconds)
        total += best
        say(f"| {name} | {best / count * 1e3:.3f} ms a packet |")
    core = sum(statistics.median(clock.spent[name]) for name in ("stamps", "assemble", "encode"))
    say(f"| all | {total / count * 1e3:.3f} ms: {count / total:.0f} packets per core-second |")
    say(f"| stamps, assemble, encode | {core / count * 1e3:.3f} ms: {count / core:.0f} per core-second |")
    for name, seconds in peers(packets[:60], images, Clock()).items():
        say(f"| {name} | {seconds * 1e3:.3f} ms a packet |")


if __name__ == "__main__":
    main()
