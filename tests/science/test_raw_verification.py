"""Every kind of defect is found, filed under the right code, and named with its keyword and numbers."""

import io

import pytest
from astropy.io import fits
from builders import NIGHT_START
from refusals import refused

from zsds_tasks.science.raw import (
    DefectCode,
    RawFrame,
    verify,
)


@pytest.mark.parametrize(
    ("kind", "filtercode", "programid"),
    [("o", "zr", 1), ("o", "zg", 0), ("b", "OO", 0), ("d", "OO", 0), ("f", "zi", 0), ("t", "zr", 0),
     ("e", "OO", 0), ("c", "zg", 0), ("x", "zr", 2)],
)  # fmt: skip
@pytest.mark.parametrize("plain", [False, True])
def test_good_frames_of_every_kind_pass(frames, rules, kind, filtercode, programid, plain):
    name, data = frames.build(imgtypecode=kind, filtercode=filtercode, programid=programid, plain=plain)
    outcome = verify(data, name, rules)
    assert isinstance(outcome, RawFrame), outcome
    assert str(outcome.name) == name
    assert int(outcome.exposure) == 320618750
    assert outcome.shutter_open == NIGHT_START
    assert str(outcome.night) == "20251012"
    assert [q["rcid"] for q in outcome.quadrants] == [0, 1, 2, 3]


def test_checksums_are_verified_only_where_present(frames, rules):
    name, data = frames.build(checksum=False)
    assert isinstance(verify(data, name, rules), RawFrame)


@pytest.mark.parametrize(
    ("old", "new", "code", "part"),
    [
        (".fits.fz", ".fits", DefectCode.NOT_A_RAW_NAME, "not the name of a raw product"),
        ("ztf", "ptf", DefectCode.NOT_A_RAW_NAME, "prefix ptf, the survey's is ztf"),
        ("_zr_", "_zq_", DefectCode.NOT_A_RAW_NAME, "filter code zq is none of the survey's"),
        ("_o.", "_w.", DefectCode.NOT_A_RAW_NAME, "image type w is none of the survey's"),
        ("20251012", "20251312", DefectCode.NOT_A_RAW_NAME, "not an observing night"),
        ("_c01_", "_c09_", DefectCode.WRONG_CAMERA, "CCD 9, camera tiny has 1 to 2"),
        ("000005", "000004", DefectCode.IDENTITY_MISMATCH, "FIELDID is 5, the file name says 4"),
        ("_zr_", "_zg_", DefectCode.IDENTITY_MISMATCH, "FILTERID is 2, the file name says 1"),
        ("_o.", "_t.", DefectCode.IDENTITY_MISMATCH, "IMGTYPEC is o, the file name says t"),
        ("_c01_", "_c02_", DefectCode.WRONG_CAMERA, "CCDID is 1, the file name says 2"),
        ("187500", "185500", DefectCode.IDENTITY_MISMATCH, "precedes OBSMJD by 172.8 s, not by -5 to 120 s"),
        ("187500", "187600", DefectCode.IDENTITY_MISMATCH, "precedes OBSMJD by -8.6 s, not by -5 to 120 s"),
    ],
)
def test_names(frames, rules, old, new, code, part):
    name, data = frames.build()
    refused(verify(data, name.replace(old, new), rules), code, part)


def test_shells(frames, rules):
    name, data = frames.build()
    refused(verify(b"", name, rules), DefectCode.TRUNCATED, "the file is empty")
    refused(verify(b"\x1f\x8b" + data, name, rules), DefectCode.NOT_FITS, "this is a gzip file")
    refused(
        verify(b"hello" * 600, name, rules), DefectCode.NOT_FITS, "begin with SIMPLE but with b'hellohel'"
    )
    refused(verify(data[:-100], name, rules), DefectCode.TRUNCATED, "HDU 8 claims", "bytes of data")
    refused(verify(data[:2000], name, rules), DefectCode.TRUNCATED, "HDU 0: the file ends inside its header")
    refused(
        verify(data + b" ", name, rules), DefectCode.WRONG_STRUCTURE, "HDU 9 does not begin with XTENSION"
    )
    too_large = data + bytes(rules.max_file_bytes)
    refused(verify(too_large, name, rules), DefectCode.OVERSIZED, "no frame of camera tiny exceeds")
    endless = data[:2880].replace(b"END ", b"COMM") * 80
    refused(verify(endless, name, rules), DefectCode.WRONG_STRUCTURE, "no END within 64 header blocks")


def test_structure(frames, rules):
    name, data = frames.build(hdus=slice(0, 5))
    refused(verify(data, name, rules), DefectCode.WRONG_STRUCTURE, "5 HDUs, a raw frame has 9")
    name, data = frames.build(checksum=False)
    gzipped = data.replace(b"'RICE_1  '", b"'GZIP_1  '", 1)
    refused(
        verify(gzipped, name, rules), DefectCode.WRONG_STRUCTURE, "HDU 1 is compressed by GZIP_1, not RICE_1"
    )
    signed = data.replace(b"BZERO   =                32768", b"BZERO   =                    0", 1)
    refused(verify(signed, name, rules), DefectCode.WRONG_STRUCTURE, "HDU 1 does not hold 16-bit unsigned")


def test_checksums(frames, rules):
    name, data = frames.build()
    changed = bytearray(data)
    changed[-2800] ^= 1
    refused(
        verify(bytes(changed), name, rules),
        DefectCode.CHECKSUM_MISMATCH,
        "HDU 8: DATASUM is",
        "CHECKSUM does",
    )
    edited = data.replace(b"requested exposure", b"requested Exposure")
    refused(verify(edited, name, rules), DefectCode.CHECKSUM_MISMATCH, "HDU 0: CHECKSUM does not hold")


def test_shapes(frames, rules):
    name, data = frames.build(shape=(40, 37))
    refused(
        verify(data, name, rules), DefectCode.WRONG_SHAPE, "HDU 2 is 40 x 37 pixels, the camera has 41 x 37"
    )


def test_broken_tiles(frames, rules):
    name, data = frames.build(checksum=False)
    with fits.open(io.BytesIO(data), disable_image_compression=True) as file:
        place = file[3].fileinfo()["datLoc"] + 8 * 41
    # Nothing but zeros: a unary number that never ends.
    broken = data[: place + 4] + bytes(40) + data[place + 44 :]
    refused(
        verify(broken, name, rules), DefectCode.UNDECODABLE, "HDU 3: tile", "of 41 does not decode to its 37"
    )
    far = data[: place - 8 * 41 + 4] + b"\x7f\xff\xff\xff" + data[place - 8 * 41 + 8 :]
    refused(verify(far, name, rules), DefectCode.UNDECODABLE, "HDU 3: tile 1 of 41 lies outside the heap")
