"""Hundreds of broken files: each ends archived, recognised, or refused with a reason; none is lost."""

import datetime as dt
import hashlib
import tracemalloc

import numpy as np
import pytest
from builders import NIGHT_START, Installation, tiny_include, tiny_rules
from mutations import mutate

from zsds_tasks.science.raw import DefectCode, RawFrame, Refusal, verify
from zsds_tasks.survey.filenames import RawFileName
from zsds_tasks.survey.nights import FileFracDay

N_FILES = 480
N_EXPOSURES = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Installation.at(tmp_path_factory.mktemp("fuzz"))


def base_files(frames):
    """A dozen frames; three in four without checksums, so that mutations reach the inner checks."""
    for number in range(N_EXPOSURES):
        kind = ("o", "b", "f")[number % 3]
        start = NIGHT_START + dt.timedelta(seconds=60 * number)
        yield frames.build(
            start, 1 + number % 2, imgtypecode=kind, filtercode="OO" if kind == "b" else "zr", seed=number,
            programid=int(kind == "o"), checksum=number % 4 == 0, plain=number % 5 == 4,
        )  # fmt: skip


def broken_files(frames, n, seed):
    """Yield names, all different and all fitting, and broken bytes."""
    random, base = np.random.default_rng(seed), list(base_files(frames))
    for number in range(n):
        name, data = base[number % len(base)]
        parsed = RawFileName.parse(name)
        shifted = FileFracDay(parsed.epoch.date, parsed.epoch.fraction - number // len(base))
        yield (
            str(RawFileName(shifted, parsed.field, parsed.filtercode, parsed.ccdid, parsed.imgtypecode)),
            mutate(data, random),
        )


def test_every_broken_file_finds_its_place(place):
    files = dict(broken_files(place.frames, N_FILES, seed=20251012))
    assert len(files) == N_FILES
    place.deliver(*files.items())
    summary = place.ingest()
    assert place.delivered() == []
    assert summary.left == ()
    assert summary.ingested + summary.duplicates + sum(summary.quarantined.values()) == N_FILES
    assert 6 < summary.ingested <= N_EXPOSURES  # unchanged ones, or with a harmless change
    place.assert_sound()

    archived = {row["sha256"] for row in place.rows("raw_quadrants")}
    refused = {(row["filename"], row["sha256"]): row for row in place.rows("quarantine")}
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        assert digest in archived or (name, digest) in refused, name
    codes = set(summary.quarantined)
    assert codes <= {code.value for code in DefectCode}
    assert DefectCode.INTERNAL_ERROR not in codes
    assert len(codes) >= 9, sorted(codes)  # the mutations reach every layer of the verification
    assert all(row["reason"] and row["remedy"] for row in refused.values())


def test_claims_of_size_allocate_nothing(tmp_path):
    """Headers that claim terabytes are refused in the memory of the file itself."""
    include = tiny_include(tmp_path)
    rules, frames = tiny_rules(include), Installation.at(tmp_path / "place").frames
    name, data = frames.build(checksum=False)
    claims = [
        (b"NAXIS2  =                   41", b"NAXIS2  =         999999999999"),
        (b"ZNAXIS1 =                   37", b"ZNAXIS1 =         999999999999"),
        (b"ZTILE1  =                   37", b"ZTILE1  =         999999999999"),
        (b"NAXIS   =                    2", b"NAXIS   =                  999"),
        (b"GCOUNT  =                    1", b"GCOUNT  =         999999999999"),
        (b"TFIELDS =                    1", b"TFIELDS =         999999999999"),
        (b"ZVAL1   =                   32", b"ZVAL1   =           2000000000"),
    ]
    assert isinstance(verify(data, name, rules), RawFrame)
    for honest, claimed in claims:
        assert honest in data
        hostile = data.replace(honest, claimed)
        tracemalloc.start()
        outcome = verify(hostile, name, rules)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert isinstance(outcome, Refusal), claimed
        assert peak < 20 * len(data), claimed
