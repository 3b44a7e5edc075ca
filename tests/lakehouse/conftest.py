"""A lakehouse on each backend (a folder; an S3 server on loopback) and seeded rows to put into it."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.products.tables import parse_table
from zsds_tasks.settings import Settings

DECLARATION = """
table: detections
description: One row per detection.
key: [detid]
partition: {kind: healpix, ra: ra, dec: dec, order: 1, max_rows: 400}
columns:
  - {name: detid, type: int64, ucd: meta.id;meta.main, description: Identifier., range: [0, null]}
  - {name: expid, type: int32, ucd: meta.id;obs, description: Exposure.}
  - {name: ra, type: float64, unit: deg, ucd: pos.eq.ra;meta.main, description: R.A., range: [0, 360]}
  - {name: dec, type: float64, unit: deg, ucd: pos.eq.dec;meta.main, description: Dec., range: [-90, 90]}
  - {name: mag, type: float32, unit: mag, ucd: phot.mag, description: Magnitude., nullable: true}
  - {name: seen, type: timestamp, ucd: time.epoch, description: When.}
  - {name: history, type: list<float32>, unit: mag, ucd: phot.mag, description: Before., nullable: true}
  - {name: band, type: string, ucd: meta.code, description: Filter., values: [g, r, i]}
"""
FLAT_DECLARATION = """
table: runs
description: One row per stage and exposure.
key: [stage, expid]
columns:
  - {name: stage, type: string, description: Stage.}
  - {name: expid, type: int32, description: Exposure.}
  - {name: seconds, type: float64, unit: s, description: Duration., nullable: true}
"""


S3_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def s3_settings():
    # A process of its own: some calls of deltalake hold the interpreter's lock while they wait for an answer.
    # It ends when its standard input does, that is, at the latest when this process is gone.
    with subprocess.Popen(
        [sys.executable, "-c", S3_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        host, port = server.stdout.readline().split()
        yield Settings(s3_endpoint=f"http://{host}:{port}", s3_key="test", s3_secret="test")  # noqa: S106 - moto takes any
        server.stdin.close()


@pytest.fixture(scope="session")
def s3_bucket(s3_settings):
    import s3fs

    s3fs.S3FileSystem(key="test", secret="test", endpoint_url=s3_settings.s3_endpoint).mkdir("zsds")  # noqa: S106
    return "s3://zsds"


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return open_storage(str(tmp_path / "root"), Settings())
    settings = request.getfixturevalue("s3_settings")
    return open_storage(f"{request.getfixturevalue('s3_bucket')}/{uuid.uuid4().hex}", settings)


@pytest.fixture
def local_storage(tmp_path):
    return open_storage(str(tmp_path / "root"), Settings())


@pytest.fixture
def declaration():
    return parse_table(DECLARATION)


@pytest.fixture
def flat_declaration():
    return parse_table(FLAT_DECLARATION)


@pytest.fixture
def table(storage, declaration):
    return Lakehouse(storage, Path("include")).table(declaration)


@pytest.fixture
def local_table(local_storage, declaration):
    return Lakehouse(local_storage, Path("include")).table(declaration)


@pytest.fixture
def make_detections():
    """Return a maker of detections within `around` = (ra, dec, half a side in degrees)."""

    def make(count, *, seed=0, first=0, expid=0, around=(45.0, 10.0, 25.0)):
        random = np.random.default_rng(seed)
        ra = (around[0] + random.uniform(-around[2], around[2], count)) % 360.0
        dec = around[1] + random.uniform(-around[2], around[2], count)
        moments = np.datetime64("2026-01-01T00:00:00", "us") + random.integers(0, 10**9, count)
        return pa.table(
            {
                "detid": np.arange(first, first + count),
                "expid": np.full(count, expid, dtype="i4"),
                "ra": ra,
                "dec": dec,
                "mag": pa.array(
                    random.normal(20.0, 1.0, count).astype("f4"), mask=random.random(count) < 0.1
                ),
                "seen": pa.array(moments).cast(pa.timestamp("us", tz="UTC")),
                "history": pa.array(
                    [
                        random.normal(20.0, 1.0, size).astype("f4").tolist()
                        for size in random.integers(0, 4, count)
                    ],
                    pa.list_(pa.float32()),
                ),
                "band": random.choice(["g", "r", "i"], count),
            }
        )

    return make
