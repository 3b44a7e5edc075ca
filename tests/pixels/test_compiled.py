"""Kernels with declared types: nothing is compiled until the first call, then those types and no others."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numba.core.errors import TypingError

from zsds_tasks.pixels.kernels import Kernel, compiled


@compiled("f8(f8)", nogil=True)
def half(value):
    return value / 2


@compiled(["f8(f8[::1])", "f8(f4[::1])"])
def halves(values):
    total = 0.0
    for value in values:
        total += half(value)
    return total


@compiled("i8(i8)")
def factorial(number):
    return 1 if number < 2 else number * factorial(number - 1)


def test_it_is_compiled_at_the_first_call_for_the_declared_types_only():
    made = compiled("f8(f8)")(lambda value: value + 1)
    assert isinstance(made, Kernel)
    assert not made.overloads
    assert made(1) == 2.0  # an integer becomes what was declared
    assert made(np.float32(1)) == 2.0
    assert len(made.signatures) == 1
    with pytest.raises(TypeError, match="No matching definition"):
        made("1")
    assert len(made.signatures) == 1


def test_kernels_call_each_other_and_themselves():
    assert halves(np.arange(4.0)) == halves(np.arange(4, dtype=np.float32)) == 3.0
    assert len(halves.signatures) == 2
    assert half(3.0) == 1.5
    assert factorial(10) == 3_628_800
    with pytest.raises(TypeError, match="No matching definition"):
        halves(np.arange(4))


def test_two_threads_that_come_first_share_one_version():
    made, start, found = compiled("f8(f8)", nogil=True)(lambda value: value * 3), threading.Barrier(4), []

    def call() -> None:
        start.wait()
        found.append(made(2))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6.0] * 4
    assert len(made.signatures) == 1


def test_a_declaration_that_cannot_be_compiled_fails_each_time_it_is_called():
    made = compiled("f8(f8)")(lambda value: value.nothing)
    for _ in range(2):
        with pytest.raises(TypingError):
            made(1.0)
    made.py_func  # noqa: B018 - the plain function stays at hand, as an oracle


def test_what_was_compiled_before_is_loaded_from_the_cache(tmp_path, monkeypatch):
    (tmp_path / "cached_kernel.py").write_text(
        "from zsds_tasks.pixels.kernels import compiled\n"
        "@compiled('f8(f8)', cache=True)\n"
        "def twice(value):\n    return 2 * value\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    module = importlib.import_module("cached_kernel")
    assert module.twice(2.0) == 4.0
    assert sum(module.twice.stats.cache_misses.values()) == 1
    again = importlib.reload(module)
    assert not again.twice.overloads
    assert again.twice(3.0) == 6.0
    assert sum(again.twice.stats.cache_hits.values()) == 1
    assert not again.twice.stats.cache_misses
