"""Compiled loops that cost nothing until they are called: `compiled` is numba's `njit` with declared types.

`njit` with a signature compiles where it stands, or loads what was compiled before: some 12 ms for each of
200 kernels, in every process that imports their modules, of which it may call none. `compiled` keeps the
promise of the signature (these types and no others, and no compiling in the middle of a night once the cache
is warm) and pays at the first call. ``zsds_tasks.operations.kernels`` compiles all of them ahead.

numba keeps what it compiled while the file of a function stays as it is, but machine code holds that of all
functions it calls, and constants of other files: after an update old and new would run together. Here what is
kept holds only while none of them changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import config, typeinfer
from numba.core.caching import Cache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher

CONSTANTS = (bool, int, float, str, tuple, np.generic)


class Kernel(CPUDispatcher):
    """A compiled function for declared types, made or loaded from the cache when it is first needed."""

    declared: tuple[Any, ...] = ()
    """Signatures that are not compiled yet."""

    def load(self) -> None:
        """Compile the declared signatures, or load them from the cache; once."""
        with global_compiler_lock:
            declared, self.declared = self.declared, ()
            if not declared:
                return
            if isinstance(self._cache, Cache):
                self._cache._cache_file._source_stamp = stamp_of(self.py_func)  # noqa: SLF001 - no other way
            try:
                with typeinfer.register_dispatcher(self):  # one that calls itself is known before it is made
                    for signature in declared:
                        self.compile(signature)
                self.disable_compile()
            except Exception:
                self.declared = declared
                raise

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        """Say what to call where no compiled version fits: the first call of all, or one of other types."""
        if self._can_compile:
            self.load()
            return self  # which now finds the version, or finds that none was declared for these types
        return super()._compile_for_args(*args, **kws)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Answer another kernel that is being compiled and calls this one."""
        self.load()
        return super().get_call_template(args, kws)


def compiled(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a compiled function.

    Parameters
    ----------
    signature : str, numba signature, or list of them
        Types of the arguments and the result, as numba writes them.
    **options
        As those of `numba.njit`: ``cache``, ``nogil``, ``fastmath`` ...

    Returns
    -------
    callable
        The decorator. What it returns is called as the function is, by Python and by other kernels.
    """
    cached = options.pop("cache", False)

    def declare(function: Callable[..., Any]) -> Any:
        if config.DISABLE_JIT:  # numba's own switch, for debuggers
            return function
        made = Kernel(function, locals={}, targetoptions={"nopython": True, "boundscheck": None} | options)
        if cached:
            made.enable_caching()
        made.declared = tuple(signature) if isinstance(signature, list) else (signature,)
        return made

    return declare


def stamp_of(function: Callable[..., Any]) -> tuple[tuple[str, Any], ...]:
    """Return all that the machine code of a function is made of; it changes when any of it does.

    Parameters
    ----------
    function : callable
        As it stands in its module, not compiled.

    Returns
    -------
    tuple of (name, value)
        Modules of it and of all compiled functions it calls, with time and size of their files, and the
        constants they use; sorted.
    """
    found: dict[str, Any] = {}
    _gather(function, found, set())
    return tuple(sorted(found.items()))


def _gather(function: Any, found: dict[str, Any], seen: set[Any]) -> None:
    if function in seen:
        return
    seen.add(function)
    file = os.stat(function.__code__.co_filename)  # noqa: PTH116 - as numba does: one call
    found[function.__module__] = (file.st_mtime_ns, file.st_size)
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Dispatcher):
            _gather(value.py_func, found, seen)
        elif isinstance(value, np.ndarray):
            found[f"{function.__module__}.{name}"] = hashlib.blake2b(value.tobytes()).hexdigest()
        elif isinstance(value, CONSTANTS):
            found[f"{function.__module__}.{name}"] = repr(value)
