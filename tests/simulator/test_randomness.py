"""Generators depend on their words alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.identities import Family, family_of, object_ids

words = st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=3)


@given(st.integers(), words)
def test_same_words_same_stream(seed, purpose):
    assert generator(seed, *purpose).random() == generator(seed, *purpose).random()


def test_words_do_not_run_together():
    assert generator(1, "ab", "c").random() != generator(1, "a", "bc").random()
    assert generator(1, 2).random() != generator(12).random()


@given(st.sampled_from(Family), st.integers(0, 2**32 - 1), st.integers(0, 100), st.integers(0, 2**20))
def test_object_numbers_are_positive_distinct_and_tell_their_family(family, cell, count, start):
    numbers = object_ids(family, cell, count, start=start)
    assert len(np.unique(numbers)) == count
    assert (numbers > 0).all()
    assert (family_of(numbers) == family).all()


def test_an_object_number_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="cell 4294967296 or running number 1 does not fit"):
        object_ids(Family.STAR, 1 << 32, 1)
