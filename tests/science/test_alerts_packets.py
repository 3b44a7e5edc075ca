"""Packets as bytes: fastavro reads what was put in, for real packets and for anything the types allow."""

import io
import json

import fastavro
import numpy as np
import pytest
from packet_builders import PID, broker_pixels, make_record, make_typical_packet, real_packets

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import CUTOUTS, load_packet_schema
from zsds_tasks.science.alerts.assemble import PacketConfig, assemble
from zsds_tasks.science.alerts.cutouts import CutoutConfig, cut_triplet, name_cutouts
from zsds_tasks.science.alerts.encode import PacketEncoder, decode_packet, encoder_of

SCHEMA = load_packet_schema()
ENCODER = encoder_of(SCHEMA)


def same(a, b):
    """Equal, NaN being equal to itself."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and np.isnan(a) and np.isnan(b))


@pytest.mark.parametrize("seed", range(30))
def test_fastavro_writes_the_same_body(seed):
    rng = np.random.default_rng(seed)
    packet = make_record(SCHEMA.alert, rng, nulls=rng.choice([0.0, 0.1, 0.5, 1.0]), rows=6)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, json.loads(SCHEMA.text), packet)
    data = ENCODER.encode(packet)
    assert body.getvalue() in data
    assert same(decode_packet(data), packet)
    assert ENCODER.encode(packet) == data
    assert PacketEncoder(SCHEMA).encode(packet) == data, "nothing random is in a packet"


@pytest.mark.parametrize(
    ("field", "value"),
    [("fid", 2**31 - 1), ("fid", -(2**31)), ("pid", 2**63 - 1), ("pid", -(2**63)), ("pid", 0),
     ("pid", 63), ("pid", 64), ("pid", -64), ("pid", -65), ("magpsf", np.nan), ("magpsf", np.inf),
     ("magpsf", -0.0), ("isdiffpos", ""), ("isdiffpos", "ä" * 200), ("fid", np.int32(7)), ("ra", 1)],
)  # fmt: skip
def test_values_at_the_borders_of_their_types(field, value):
    packet = make_record(SCHEMA.alert, np.random.default_rng(1), nulls=0.0)
    packet["candidate"][field] = value
    read = decode_packet(ENCODER.encode(packet))["candidate"][field]
    assert same(read, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p["candidate"].update(magpsf=None), r"candidate\.magpsf: may not be null"),
        (lambda p: p["candidate"].update(fid="g"), r"candidate\.fid: 'g' is no int"),
        (lambda p: p["candidate"].update(fid=2**31), r"candidate\.fid: 2147483648 is no int: too large"),
        (lambda p: p["candidate"].update(magap="bright"), r"candidate\.magap: 'bright' is no float"),
        (lambda p: p["candidate"].update(ssnamenr=5), r"candidate\.ssnamenr: 5 is no string"),
        (lambda p: p["candidate"].pop("drb"), r"candidate\.drb: no such field"),
        (lambda p: p["prv_candidates"][0].update(jd=None), r"prv_candidate\.jd: may not be null"),
        (lambda p: p["prv_candidates"][0].update(field=1.5), r"prv_candidate\.field: 1.5 is no int"),
        (lambda p: p.update(cutoutScience={"fileName": "x"}), r"cutout\.stampData: no such field"),
        (lambda p: p.update(objectId=None), r"alert\.objectId: may not be null"),
    ],
)
def test_what_does_not_fit_the_schema_is_named(spoil, message):
    packet = make_typical_packet(np.random.default_rng(2), 2, 2)
    spoil(packet)
    with pytest.raises(UnusableInputError, match=message):
        ENCODER.encode(packet)


def test_real_packets_with_forced_history_survive_our_encoding(real_data):
    packets = [packet for _, packet, _ in real_packets(real_data) if "fp_hists" in packet]
    assert len(packets) == 28
    for packet in packets:
        data = ENCODER.encode(packet)
        assert same(decode_packet(data), packet)
        reader = fastavro.reader(io.BytesIO(data))
        assert (reader.codec, len(list(reader))) == ("null", 1)


def test_bodies_of_real_packets_are_theirs_to_the_byte(real_data):
    """The writer schema is the same, so the record itself must come out as ZTF wrote it."""
    checked = 0
    for data, packet, text in real_packets(real_data):
        if packet.get("schemavsn") == "4.02":
            ours = ENCODER.encode(packet)
            body = ours[ours.index(SCHEMA.text.encode()) + len(SCHEMA.text) + 1 + 16 : -16]
            assert body in data
            assert len(data) - len(body) - len(text) < 80
            checked += 1
    assert checked == 3


def test_a_reader_of_an_older_schema_reads_ours(real_data):
    """Brokers that resolve to the schema they were built with find the fields they know."""
    packet = make_typical_packet(np.random.default_rng(3))
    for version in ("3.2", "3.3", "4.01"):
        text = next(text for _, real, text in real_packets(real_data) if real.get("schemavsn") == version)
        read = next(fastavro.reader(io.BytesIO(ENCODER.encode(packet)), json.loads(text)))
        assert read["candidate"]["magpsf"] == packet["candidate"]["magpsf"]
        assert len(read["prv_candidates"]) == 30


def test_packets_of_every_schema_version_are_read(real_data):
    versions = {decode_packet(data).get("schemavsn") for data, _, _ in real_packets(real_data)[::5]}
    assert {"3.2", "4.01"} <= versions


@pytest.mark.parametrize("data", [b"", b"Obj\x01", b"no packet at all", b"Obj\x01" + b"\x00" * 40])
def test_bytes_that_are_no_packet_are_refused(data):
    with pytest.raises(UnusableInputError, match="packet"):
        decode_packet(data)


def test_a_packet_from_pixels_to_a_broker_and_back():
    rng = np.random.default_rng(4)
    images = tuple(rng.normal(100, 10, (90, 80)).astype(np.float32) for _ in range(3))
    images[0][10, 7] = np.nan
    candid = PID * 10**6 + 10003
    candidate = make_record(SCHEMA.record("candidate"), rng) | {
        "candid": candid,
        "xpos": 12.25,
        "ypos": 40.75,
    }
    stamps = cut_triplet(images, 12.25, 40.75, CutoutConfig(), is_positive=False)
    packet = assemble(
        candidate, "ZTF25aaaaaab", [], [], name_cutouts(candid, PID, stamps, is_positive=False), SCHEMA,
        PacketConfig(),
    )  # fmt: skip
    read = decode_packet(ENCODER.encode(packet))
    assert (read["schemavsn"], read["objectId"], read["candid"]) == ("4.02", "ZTF25aaaaaab", candid)
    assert read["candidate"] == candidate
    assert read["prv_candidates"] is read["fp_hists"] is None
    rows, columns = slice(9, 72), slice(0, 43)
    for name, image in zip(CUTOUTS, (images[0], images[1], -images[2]), strict=True):
        pixels, header = broker_pixels(read[name])
        np.testing.assert_array_equal(pixels, image[rows, columns])
        assert (header["NAXIS1"], header["NAXIS2"], header["BUNIT"]) == (43, 63, "DN")
    assert read["cutoutDifference"]["fileName"] == f"candid{candid}_pid{PID}_targ_refmsci.fits.gz"


def test_a_candidate_without_a_model_flows_all_the_same():
    rng = np.random.default_rng(5)
    candidate = make_record(SCHEMA.record("candidate"), rng)
    candidate.update(rb=None, rbversion=None, drb=None, drbversion=None)
    packet = assemble(candidate, "ZTF25aaaaaab", [], [], {}, SCHEMA, PacketConfig())
    assert (packet["candidate"]["rbversion"], packet["candidate"]["drbversion"]) == ("none", "none")
    assert packet["cutoutScience"] is None
    assert same(decode_packet(ENCODER.encode(packet)), packet)
    with pytest.raises(UnusableInputError, match="no value for magpsf"):
        assemble(candidate | {"magpsf": None}, "ZTF25aaaaaab", [], [], {}, SCHEMA, PacketConfig())
