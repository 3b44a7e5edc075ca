"""Names: their grammar, and laws of who gets which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.naming.allot import Detections, NamingConfig, Objects, allot_names
from zsds_tasks.science.naming.grammar import PER_YEAR, ObjectName

ARCSEC = 1 / 3600
NEXT = ObjectName(2025, 700)
NONE = Objects((), np.empty(0), np.empty(0), np.empty(0))
CONFIG = NamingConfig()


@given(year=st.integers(2000, 2099), ordinal=st.integers(0, PER_YEAR - 1))
def test_print_and_parse_are_inverses_and_order_is_that_of_the_text(year, ordinal):
    name = ObjectName(year, ordinal)
    assert ObjectName.parse(str(name)) == name
    if ordinal + 1 < PER_YEAR:
        assert str(name) < str(name.after())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (ObjectName(2017, 0), "ZTF17aaaaaaa"),
        (ObjectName(2017, 25), "ZTF17aaaaaaz"),
        (ObjectName(2018, 26), "ZTF18aaaaaba"),
        (ObjectName(2023, PER_YEAR - 1), "ZTF23zzzzzzz"),
        (ObjectName(2017, 3 * 26**4 + 2 * 26**3 + 21 * 26**2 + 7 * 26 + 16), "ZTF17aadcvhq"),
    ],
)
def test_known_names(name, text):
    assert str(name) == text
    assert ObjectName.parse(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ZTF17aadcvh",
        "ZTF17aadcvhqq",
        "ztf17aadcvhq",
        "ZTF17AADCVHQ",
        "ZTF1\uff17aadcvhq",
        "ZTF17aadcvhq\n",
    ],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(UnusableInputError, match="not the name of an object"):
        ObjectName.parse(text)


def test_a_year_that_is_used_up_says_so():
    with pytest.raises(UnusableInputError, match="a year has names"):
        ObjectName(2025, PER_YEAR - 1).after()


def place(offsets, ra0=359.99995, dec0=60.0):
    """Turn offsets (east, north) in arcsec about a place near 0 h into ra, dec."""
    offsets = np.asarray(offsets, float).reshape(-1, 2)
    dec = dec0 + offsets[:, 1] * ARCSEC
    return (ra0 + offsets[:, 0] * ARCSEC / np.cos(np.radians(dec))) % 360, dec


def detections(offsets, jd=2460000.5, candid=None, named=None):
    ra, dec = place(offsets)
    candid = np.arange(len(ra)) + 1000 if candid is None else np.asarray(candid)
    return Detections(candid, ra, dec, jd, named or {})


def objects(offsets, jd=2459000.5, first=0):
    ra, dec = place(offsets)
    names = tuple(ObjectName(2020, first + k) for k in range(len(ra)))
    return Objects(names, ra, dec, np.broadcast_to(np.asarray(jd, float), len(ra)).copy())


def together(a, b):
    return Objects(
        (*a.names, *b.names), *(np.concatenate([getattr(a, n), getattr(b, n)]) for n in ("ra", "dec", "jd"))
    )


clouds = st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6)), max_size=14, unique=True)


@given(known=clouds, new=clouds, order=st.randoms(use_true_random=False))
@settings(max_examples=120)
def test_the_order_of_candidates_changes_nothing(known, new, order):
    here = detections(new)
    first = allot_names(objects(known), here, NEXT, CONFIG)
    shuffle = list(range(len(new)))
    order.shuffle(shuffle)
    other = Detections(here.candid[shuffle], here.ra[shuffle], here.dec[shuffle], here.jd)
    second = allot_names(objects(known), other, NEXT, CONFIG)
    assert dict(zip(here.candid.tolist(), first.names, strict=True)) == dict(
        zip(other.candid.tolist(), second.names, strict=True)
    )
    assert second.created.names == first.created.names
    np.testing.assert_array_equal(second.created.ra, first.created.ra)
    assert second.founders == first.founders


@given(known=clouds, new=clouds)
@settings(max_examples=120)
def test_the_same_exposure_again_makes_nothing_new_and_gives_the_same_names(known, new):
    here = detections(new)
    first = allot_names(objects(known), here, NEXT, CONFIG)
    again = allot_names(together(objects(known), first.created), here, first.next_free, CONFIG)
    assert again.names == first.names
    assert again.created.names == ()
    assert again.next_free == first.next_free


@given(known=clouds, nights=st.lists(clouds, min_size=2, max_size=4))
@settings(max_examples=60)
def test_an_old_night_again_gets_its_old_names_though_objects_were_found_since(known, nights):
    state, free, given_names = objects(known), NEXT, []
    for k, night in enumerate(nights):
        done = allot_names(state, detections(night, jd=2460000.5 + k), free, CONFIG)
        given_names.append(done.names)
        state, free = together(state, done.created), done.next_free
    for k, night in enumerate(nights):
        done = allot_names(state, detections(night, jd=2460000.5 + k), free, CONFIG)
        assert done.names == given_names[k]
        assert not done.founders


@given(known=clouds, new=clouds)
@settings(max_examples=120)
def test_laws_of_a_single_exposure(known, new):
    here, old = detections(new), objects(known)
    done = allot_names(old, here, NEXT, CONFIG)
    everything = together(old, done.created)
    where = dict(zip(everything.names, zip(everything.ra, everything.dec, strict=True), strict=True))
    # New names are the next ones, each once, and never one that exists.
    assert done.created.names == tuple(NEXT.after(k) for k in range(len(done.founders)))
    assert done.next_free == NEXT.after(len(done.founders))
    # Everything lies within the radius of its object, and no other object is nearer.
    for ra, dec, name in zip(here.ra, here.dec, done.names, strict=True):
        apart = {other: separation(ra, dec, *spot) for other, spot in where.items()}
        assert apart[name] <= 1.5 + 1e-6
        assert apart[name] <= min(apart.values()) + 1e-6
    # Founders are far from every object before them.
    for k, candid in enumerate(done.founders):
        own = where[done.created.names[k]]
        assert here.candid.tolist().index(candid) >= 0
        for other in (*old.names, *done.created.names[:k]):
            assert separation(*own, *where[other]) > 1.5 - 1e-6


def separation(ra, dec, ra2, dec2):
    """Arcsec, by the haversine formula: the slow, obvious way."""
    a, d, a2, d2 = np.radians([ra, dec, ra2, dec2])
    h = np.sin((d - d2) / 2) ** 2 + np.cos(d) * np.cos(d2) * np.sin((a - a2) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(h))) * 3600


def test_two_new_ones_of_one_place_share_a_name_and_its_place_is_that_of_the_lower_candid():
    here = detections([(0, 0), (1.0, 0), (40, 0)], candid=[12, 7, 9])
    done = allot_names(NONE, here, NEXT, CONFIG)
    assert done.names == (NEXT, NEXT, NEXT.after())
    assert done.founders == (7, 9)
    assert done.created.ra[0] == here.ra[1]


def test_the_radius_is_one_and_a_half_arcsec():
    assert allot_names(objects([(0, 0)]), detections([(0, 1.499)]), NEXT, CONFIG).founders == ()
    assert allot_names(objects([(0, 0)]), detections([(0, 1.501)]), NEXT, CONFIG).founders == (1000,)


def test_of_equally_near_objects_the_older_one_is_taken():
    two = objects([(0, 1), (0, -1)], jd=[2459001.5, 2459000.5])
    exact = Objects(two.names, np.array([0.0, 0.0]), np.array([ARCSEC, -ARCSEC]), two.jd)
    here = Detections(np.array([1]), np.array([0.0]), np.array([0.0]), 2460000.5)
    assert allot_names(exact, here, NEXT, CONFIG).names == (two.names[1],)
    same_day = Objects(two.names, exact.ra, exact.dec, np.full(2, 2459000.5))
    assert allot_names(same_day, here, NEXT, CONFIG).names == (two.names[0],)


def test_a_candid_keeps_the_name_it_was_given():
    kept = ObjectName(2019, 5)
    here = detections([(0, 0), (30, 0)], named={1000: kept})
    done = allot_names(objects([(0.1, 0)]), here, NEXT, CONFIG)
    assert done.names == (kept, NEXT)
    assert allot_names(NONE, detections([(0, 0)], named={1000: kept}), NEXT, CONFIG).founders == ()


def test_nothing_comes_of_nothing():
    done = allot_names(NONE, detections([]), NEXT, CONFIG)
    assert (done.names, done.founders, done.next_free) == ((), (), NEXT)


def test_what_cannot_be_named_is_refused():
    with pytest.raises(ValueError, match="without a position"):
        allot_names(NONE, detections([(np.nan, 0)]), NEXT, CONFIG)
    with pytest.raises(ValueError, match="appears twice"):
        allot_names(NONE, detections([(0, 0), (9, 9)], candid=[3, 3]), NEXT, CONFIG)


def test_a_first_night_of_twenty_thousand_is_named_in_a_second_or_two():
    rng = np.random.default_rng(8)
    offsets = rng.uniform(-3000, 3000, (20_000, 2))
    done = allot_names(NONE, detections(offsets), NEXT, CONFIG)
    assert 19_000 < len(done.founders) <= 20_000
