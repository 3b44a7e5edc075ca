"""History of a packet: by position, by time, by who may read it; held against loops over every pair."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_builders import arrow_schema, make_record

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import load_packet_schema
from zsds_tasks.science.alerts.history import LIMIT_FIELDS, History, HistoryConfig

SCHEMA = load_packet_schema()
PREVIOUS, FORCED = SCHEMA.record("prv_candidate"), SCHEMA.record("fp_hist")
JD, NID = 2460961.75, 3207
RA, DEC = 0.0, 40.0
ARCSEC = 1 / 3600
CORNERS = [f"{axis}{i}" for i in range(1, 5) for axis in ("ra", "dec")]


def east(arcsec):
    return (RA + arcsec * ARCSEC / np.cos(np.radians(DEC))) % 360


def candidates(rows):
    names = {"ra": RA, "dec": DEC, "jd": JD, "nid": NID, "programid": 1}
    return pa.table({name: [row.get(name, default) for row in rows] for name, default in names.items()})


def detection(days_ago, offset=0.0, exposure=None, **rest):
    """Make an earlier detection so many arcsec to the east."""
    row = make_record(PREVIOUS, np.random.default_rng(1), nulls=0.5)
    pid = int((NID - days_ago) * 100_000) * 10_000 + 1515 if exposure is None else exposure * 10_000 + 1515
    return row | {
        "jd": JD - days_ago, "pid": pid, "candid": pid * 10**6 + 15000, "programid": 1, "fid": 1,
        "ra": east(offset), "dec": DEC, "rbversion": "t",
    } | rest  # fmt: skip


def image(days_ago, half_deg=0.4, east_deg=0.0, exposure=None, rcid=15, **rest):
    """Make an earlier difference image whose middle lies so many degrees to the east."""
    number = int((NID - days_ago) * 100_000) if exposure is None else exposure
    row = dict.fromkeys(LIMIT_FIELDS) | {
        "jd": JD - days_ago, "pid": number * 10_000 + rcid * 100 + 15, "programid": 1, "fid": 2,
        "diffmaglim": 20.5, "rbversion": "t", "rcid": rcid,
    }  # fmt: skip
    for i, (dx, dy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1)), start=1):
        row[f"ra{i}"] = (RA + (east_deg + dx * half_deg) / np.cos(np.radians(DEC))) % 360
        row[f"dec{i}"] = DEC + dy * half_deg
    return row | rest


def forced(days_ago, fid=1, offset=0.0, **rest):
    row = make_record(FORCED, np.random.default_rng(2), nulls=0.5)
    jd, nid = JD - days_ago, NID - int(np.ceil(days_ago - 0.25))
    return row | {
        "jd": jd, "nid": nid, "fid": fid, "pid": int(jd * 1e6), "programid": 1, "ra": east(offset),
        "dec": DEC,
    } | rest  # fmt: skip


def tables(detections=(), images=(), forced_rows=()):
    corners = [(name, pa.float64()) for name in CORNERS]
    limits = arrow_schema(PREVIOUS)
    place = [("ra", pa.float64()), ("dec", pa.float64()), ("nid", pa.int32())]
    return (
        pa.Table.from_pylist(list(detections), arrow_schema(PREVIOUS)),
        pa.Table.from_pylist(list(images), pa.schema([limits.field(n) for n in LIMIT_FIELDS] + corners)),
        pa.Table.from_pylist(list(forced_rows), pa.schema([*arrow_schema(FORCED), *place])),
    )


def history(here, *rows, config=None):
    return History(candidates(here), *tables(*rows), SCHEMA, config or HistoryConfig())


def test_detections_within_the_radius_and_the_days_the_oldest_first():
    rows = [
        detection(1.0), detection(29.99, 1.49), detection(3.0, 1.51), detection(30.01), detection(0.0),
        detection(-1.0), detection(2.0, -1.4),
    ]  # fmt: skip
    seen = history([{}], rows).previous(0)
    assert [round(JD - row["jd"], 2) for row in seen] == [29.99, 2.0, 1.0]
    assert all(tuple(row) == PREVIOUS.names for row in seen)


def test_an_exposure_that_covered_the_place_and_saw_nothing_is_an_upper_limit():
    rows = [detection(2.0, exposure=111), detection(5.0, 2.0, exposure=222)]
    images = [
        image(2.0, exposure=111), image(5.0, exposure=222), image(6.0, exposure=333),
        image(6.0, exposure=333, rcid=16), image(7.0, east_deg=0.9), image(40.0), image(0.0),
    ]  # fmt: skip
    seen = history([{}], rows, images).previous(0)
    assert [(row["pid"] // 10_000, row["candid"] is None) for row in seen] == [
        (333, True), (222, True), (111, False),
    ]  # fmt: skip
    limit = seen[0]
    assert {name for name, value in limit.items() if value is not None} <= set(LIMIT_FIELDS)
    assert limit["diffmaglim"] == pytest.approx(20.5)
    assert limit["magpsf"] is limit["isdiffpos"] is limit["ra"] is None


def test_two_detections_of_one_exposure_are_both_told():
    rows = [detection(1.0, exposure=111, candid=2), detection(1.0, 0.5, exposure=111, candid=1)]
    assert [row["candid"] for row in history([{}], rows).previous(0)] == [1, 2]


def test_each_reader_sees_only_exposures_of_programmes_that_are_open_to_it():
    rows = [detection(k, programid=k) for k in (1, 2, 3)]
    images = [image(4 + k, programid=k) for k in (1, 2, 3)]
    points = [forced(k, programid=k) for k in (1, 2, 3)]
    here = [{"programid": programme} for programme in (1, 2, 3, 9)]
    past = history(here, rows, images, points)
    for k, programmes in enumerate(((1,), (1, 2), (1, 2, 3), ())):
        assert sorted({row["programid"] for row in past.previous(k)}) == list(programmes)
        assert len(past.previous(k)) == 2 * len(programmes)
        assert sorted(row["programid"] for row in past.forced(k)) == list(programmes)


def test_forced_history_is_one_per_night_and_filter_the_newest_first_until_the_night_before():
    points = [
        forced(3.0), forced(2.9, fid=2), forced(3.02), forced(1.0), forced(1.0, offset=1.6), forced(31.0),
        forced(0.05), forced(10.0), forced(0.0),
    ]  # fmt: skip
    told = history([{}], (), (), points).forced(0)
    assert [(round(JD - row["jd"], 2), row["fid"]) for row in told] == [
        (1.0, 1),
        (2.9, 2),
        (3.0, 1),
        (10.0, 1),
    ]
    assert all(tuple(row) == FORCED.names for row in told)


def test_without_a_past_there_is_none():
    past = history([{}, {"ra": 180.0}])
    assert past.previous(0) == past.forced(1) == []
    assert history([], [detection(1.0)], [image(1.0)], [forced(1.0)]) is not None


def test_detections_without_a_place_are_passed_over():
    assert history([{}], [detection(1.0, ra=None), detection(2.0)]).previous(0)[0]["jd"] == JD - 2.0


def test_a_row_that_lacks_what_the_schema_requires_is_named():
    with pytest.raises(UnusableInputError, match="no value for rbversion"):
        history([{}], [detection(1.0, rbversion=None)])


def test_rows_are_shared_between_packets_of_neighbours():
    past = history([{}, {"ra": east(1.0)}], [detection(1.0, 0.5)])
    assert past.previous(0)[0] is past.previous(1)[0]


spots = st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=6)


@given(here=spots, past=spots)
@settings(max_examples=40)
def test_matches_are_those_of_all_pairs(here, past):
    rows = [detection(1.0 + k, dx, dec=DEC + dy * ARCSEC, candid=k) for k, (dx, dy) in enumerate(past)]
    found = history([{"ra": east(dx), "dec": DEC + dy * ARCSEC} for dx, dy in here], rows)
    for k, (dx, dy) in enumerate(here):
        apart = {n: np.hypot(dx - x, dy - y) for n, (x, y) in enumerate(past)}
        told = {row["candid"] for row in found.previous(k)}
        assert {n for n in apart if apart[n] < 1.499} <= told <= {n for n in apart if apart[n] < 1.501}


@given(
    middle=st.tuples(st.floats(-1, 1), st.floats(-1, 1)), turn=st.floats(0, 360), is_mirrored=st.booleans()
)
@settings(max_examples=60)
def test_covered_is_what_lies_inside_the_corners_however_they_run(middle, turn, is_mirrored):
    half, dec0 = 0.43, 5.0
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    square = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    row = image(1.0)
    for i, (dx, dy) in enumerate(square[::-1] if is_mirrored else square, start=1):
        row[f"ra{i}"] = (middle[0] + half * (cos * dx - sin * dy)) % 360
        row[f"dec{i}"] = dec0 + middle[1] + half * (sin * dx + cos * dy)
    x, y = cos * -middle[0] + sin * -middle[1], sin * middle[0] - cos * middle[1]
    margin = half - max(abs(x), abs(y))
    told = history([{"ra": 0.0, "dec": dec0}], (), [row]).previous(0)
    if abs(margin) > 0.02:  # degrees on the sphere are not quite those of the plane
        assert bool(told) == (margin > 0)


def told_by_loops(here, detections, images, points):
    """Tell the past of one candidate, pair by pair."""

    def is_past(row):
        return JD - 30 <= row["jd"] < JD and row["programid"] in HistoryConfig().visible[here["programid"]]

    def apart(row):
        return np.hypot((row["ra"] - here["ra"] + 180) % 360 - 180, row["dec"] - DEC)

    near = 1.5 * ARCSEC / np.cos(np.radians(DEC))
    told = [row for row in detections if apart(row) < near and is_past(row)]
    exposures = {row["pid"] // 10_000 for row in told}
    for row in sorted(images, key=lambda row: row["pid"]):
        if is_past(row) and row["pid"] // 10_000 not in exposures:
            exposures.add(row["pid"] // 10_000)
            told.append(row)
    told.sort(key=lambda row: (row["jd"], row["pid"], row.get("candid") or 0))
    old = [row for row in points if apart(row) < near and is_past(row) and row["nid"] < NID]
    old.sort(key=apart)
    old.sort(key=lambda row: (row["jd"], row["pid"]), reverse=True)
    newest = {}
    for row in old:
        newest.setdefault((row["nid"], row["fid"]), row)
    return [(r["pid"], r.get("candid")) for r in told], [(r["pid"], r["tag"]) for r in newest.values()]


@pytest.mark.parametrize("seed", range(4))
def test_many_neighbours_at_once_are_told_what_loops_tell(seed):
    rng = np.random.default_rng(seed)
    spots = [0.0, 0.4, -0.7, 40.0, 40.5, 90.0]

    def pick(make, count, **rest):
        days = rng.choice([0.3, 1.2, 1.25, 2.0, 5.0, 29.0, 31.0], count).tolist()
        programmes = rng.integers(1, 4, count).tolist()
        return [
            make(d, programid=p, **{k: f() for k, f in rest.items()})
            for d, p in zip(days, programmes, strict=True)
        ]

    detections = pick(
        detection, 60, offset=lambda: rng.choice(spots) + rng.normal(0, 0.1),
        candid=lambda: int(rng.integers(1, 10**9)),
    )  # fmt: skip
    images = pick(image, 20, rcid=lambda: int(rng.integers(0, 3)))
    points = pick(
        forced,
        120,
        offset=lambda: rng.choice(spots) + rng.normal(0, 0.1),
        fid=lambda: int(rng.integers(1, 3)),
        pid=lambda: int(rng.integers(1, 4)),
    )
    for n, row in enumerate(points):
        row["tag"] = row["procstatus"] = str(n)
    here = [
        {"ra": east(spot), "programid": 1 + n % 3} for n, spot in enumerate([*spots, 3600.0, *spots, 7200.0])
    ]
    past = history(here, detections, images, [{k: v for k, v in row.items() if k != "tag"} for row in points])
    for k, place in enumerate(here):
        covering = images if abs((place["ra"] + 180) % 360 - 180) < 0.4 else []
        previous, old = told_by_loops(place, detections, covering, points)
        assert [(row["pid"], row["candid"]) for row in past.previous(k)] == previous
        assert [(row["pid"], row["procstatus"]) for row in past.forced(k)] == old
