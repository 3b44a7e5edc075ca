"""Founded seeds: a function of the set of detections; found again in part is found anew."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matching_builders import CONFIG, UNIT

from zsds_tasks.science.matching.found import found, founded_seeds, refound
from zsds_tasks.science.matching.numbering import SIDE, founded_ids
from zsds_tasks.science.matching.rows import Detections
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.survey.identifiers import FOUNDED, ObjectId


def make_unmatched(rng, stars=25, images=12, side=25.0, strangers=6):
    """Stars seen now and then among strangers, so close that islands have many rows."""
    east, north = rng.uniform(-side / 2, side / 2, (2, stars))
    parts = []
    for pid in range(images):
        seen = rng.uniform(size=stars) < 0.5
        place = np.stack([east, north])[:, seen] + rng.normal(0, 0.3, (2, seen.sum()))
        place = np.concatenate([place, rng.uniform(-side / 2, side / 2, (2, strangers))], axis=1)
        parts.append((np.full(place.shape[1], pid), np.arange(place.shape[1]), *place))
    pid, row, x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    mjd = (
        rng.permutation(images)[pid] // 2 + 58000.0
    )  # pids are not in order of time, and some times are equal
    ra, dec = deproject(x, y, (UNIT.ra, UNIT.dec))
    return Detections(pid, row, mjd, ra, dec, np.full(len(pid), 0.2))


def table_of(unmatched, founding):
    """The state that must not depend on how it came about: rows by name, with their seed and separation."""
    seeds, seed = founded_seeds(unmatched, founding, UNIT, CONFIG)
    order = np.lexsort((unmatched.row, unmatched.pid))
    columns = (unmatched.pid, unmatched.row, seeds.objectid[seed], founding.separation)
    return [column[order].tobytes() for column in columns] + [seeds.objectid.tobytes(), seeds.ra.tobytes()]


NONE = make_unmatched(np.random.default_rng(0)).take(np.zeros(0, np.int64))


@given(seed=st.integers(0, 2**32 - 1), nights=st.integers(1, 5))
@settings(max_examples=25)
def test_nights_in_any_order_and_split_give_the_same_seeds(seed, nights):
    rng = np.random.default_rng(seed)
    everything = make_unmatched(rng)
    whole = table_of(everything, found(everything, CONFIG))
    portion = rng.integers(0, nights, len(everything))  # even images come in pieces
    known, founding = NONE, found(NONE, CONFIG)
    for night in rng.permutation(nights):
        arriving = everything.take(rng.permutation(np.flatnonzero(portion == night)))
        known, founding, _ = refound(known, founding, np.zeros(len(known), bool), arriving, CONFIG)
    assert table_of(known, founding) == whole


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_images_replaced_leave_no_trace(seed):
    rng = np.random.default_rng(seed)
    before, other = make_unmatched(rng, side=60.0), make_unmatched(rng, side=60.0)
    is_new = other.pid == 3
    renewed = replace(other, mjd=np.full(len(other), before.mjd[before.pid == 3][0])).take(is_new)
    after, founding, touched = refound(before, found(before, CONFIG), before.pid == 3, renewed, CONFIG)
    assert table_of(after, founding) == table_of(after, found(after, CONFIG))
    assert set(after.pid[touched]) >= {3}
    assert touched.mean() < 0.9


def test_only_islands_that_are_touched_are_looked_at():
    before = make_unmatched(np.random.default_rng(4), stars=400, side=600.0)
    one = before.take(np.array([0]))
    arriving = replace(one, pid=np.array([99]), ra=one.ra + 0.5 / 3600)
    after, founding, touched = refound(
        before, found(before, CONFIG), np.zeros(len(before), bool), arriving, CONFIG
    )
    assert table_of(after, founding) == table_of(after, found(after, CONFIG))
    assert 2 <= touched.sum() < 40


def test_later_images_change_nothing_of_what_was_found():
    everything = make_unmatched(np.random.default_rng(6))
    early = everything.mjd < 58003.0
    before, after = found(everything.take(early), CONFIG), found(everything, CONFIG)
    rows = np.flatnonzero(early)
    np.testing.assert_array_equal(after.founder[rows], rows[before.founder])
    np.testing.assert_array_equal(after.separation[rows], before.separation)


def test_an_early_night_that_arrives_late_founds():
    late = Detections([5], [0], [58010.0], [UNIT.ra], [UNIT.dec], [0.1])
    early = Detections([4], [0], [58001.0], [UNIT.ra + 1 / 3600], [UNIT.dec], [0.1])
    after, founding, _ = refound(late, found(late, CONFIG), np.array([False]), early, CONFIG)
    assert founding.founder.tolist() == [1, 1]
    seeds, _ = founded_seeds(after, founding, UNIT, CONFIG)
    assert seeds.objectid.tolist() == founded_ids(early.ra, early.dec, UNIT, CONFIG).tolist()


def test_two_sources_of_one_image_are_two_seeds():
    ra, dec = deproject([0.1, 0.1], [0.1, 0.3], (UNIT.ra, UNIT.dec))
    pair = Detections([1, 1], [0, 1], [58000.0] * 2, ra, dec, [0.1] * 2)
    founding = found(pair, CONFIG)
    assert founding.founder.tolist() == [0, 1]
    seeds, _ = founded_seeds(pair, founding, UNIT, CONFIG)
    first, second = sorted(seeds.objectid.tolist())
    assert second == first + 1  # the same cell: the second takes the next
    assert seeds.origin.tolist() == [1, 1]


def test_members_stay_within_the_radius_of_their_founder():
    everything = make_unmatched(np.random.default_rng(9), strangers=40)
    founding = found(everything, CONFIG)
    assert founding.separation.max() <= CONFIG.radius_arcsec
    np.testing.assert_array_equal(founding.founder[founding.founders], founding.founders)
    np.testing.assert_array_equal(founding.founder[founding.founder], founding.founder)
    pairs = np.stack([everything.pid, founding.founder])
    assert np.unique(pairs, axis=1).shape == pairs.shape


def test_objectids_name_their_unit_and_cell():
    ids = founded_ids(*deproject([0.1], [0.1], (UNIT.ra, UNIT.dec)), UNIT, CONFIG)
    name = ObjectId.parse(int(ids[0]))
    assert (name.field, name.fid, name.ccdid, name.qid) == (600, 2, 7, 3)
    assert name.is_founded
    assert name.sequence == FOUNDED + SIDE // 2 * (SIDE + 1)
    assert not ObjectId(600, 2, 7, 3, FOUNDED - 1).is_founded


@pytest.mark.parametrize("centre", [(0.0, 0.0), (310.0, 89.7)])
def test_sources_of_different_cells_have_different_numbers_whatever_their_order(centre):
    rng = np.random.default_rng(1)
    unit = replace(UNIT, ra=centre[0], dec=centre[1])
    places = rng.permutation(SIDE * SIDE // 400)[:2000]
    side = SIDE // 20
    x, y = (places % side - side // 2 + 0.5) * 0.5, (places // side - side // 2 + 0.5) * 0.5
    ra, dec = deproject(x, y, centre)
    ids = founded_ids(ra, dec, unit, CONFIG)
    assert len(np.unique(ids)) == 2000
    order = rng.permutation(2000)
    np.testing.assert_array_equal(founded_ids(ra[order], dec[order], unit, CONFIG), ids[order])
    off_field = founded_ids(np.array([centre[0] + 90.0, 0.0]), np.array([0.0, -90.0]), unit, CONFIG)
    assert ((off_field % 10**8 >= FOUNDED) & (off_field // 10**8 == ids[0] // 10**8)).all()


def test_nothing_founds_nothing():
    assert len(found(NONE, CONFIG).founders) == 0
    seeds, seed = founded_seeds(NONE, found(NONE, CONFIG), UNIT, CONFIG)
    assert len(seeds) == len(seed) == 0
