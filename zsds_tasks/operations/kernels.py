"""Compile numba's kernels ahead: once, on all cores, with a word about it, not silently at the first call.

They are cached beside their modules, so whoever comes later (a task, a Ray worker, a test) loads them. Those
without a declared signature, and what has changed since, are compiled where they are first used.
"""

from __future__ import annotations

import ast
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zsds_tasks
from zsds_tasks.pixels.kernels import Kernel

PACKAGE = Path(zsds_tasks.__file__).parent
SILENT: Callable[[str], None] = lambda _: None  # noqa: E731 - a default that says nothing


def kernel_modules() -> list[str]:
    """Return the modules that hold kernels, those that others import first."""
    imports = {_name(path): _imports(path) for path in sorted(PACKAGE.rglob("*.py"))}
    depth: dict[str, int] = {}

    def deep(name: str, above: frozenset[str]) -> int:
        if name not in depth:
            below = [n for n in imports[name] if n in imports and n not in above]
            depth[name] = 1 + max((deep(n, above | {name}) for n in below), default=0)
        return depth[name]

    holders = [_name(path) for path in sorted(PACKAGE.rglob("*.py")) if _holds_kernels(path)]
    return sorted(holders, key=lambda name: (deep(name, frozenset()), name))


def compile_kernels(tell: Callable[[str], None] = SILENT, *, workers: int | None = None) -> float:
    """Have every module that holds kernels compile them, in processes of their own.

    Parameters
    ----------
    tell : callable
        Told the progress.
    workers : int, optional
        Processes; default the cores this process may use.

    Returns
    -------
    float
        Seconds it took.
    """
    began, names = time.perf_counter(), kernel_modules()
    count = workers or len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        for done, name in enumerate(pool.imap_unordered(_compile, names), 1):
            tell(f"compiling kernels: {done} of {len(names)} modules ({name.removeprefix('zsds_tasks.')})")
    return time.perf_counter() - began


def _compile(name: str) -> str:
    for value in vars(importlib.import_module(name)).values():
        if isinstance(value, Kernel):
            value.load()
    return name


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> list[str]:
    return list(_imported(ast.parse(path.read_text(encoding="utf-8"))))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports when it is imported itself."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _holds_kernels(path: Path) -> bool:
    return any(name.split(".")[0] == "numba" or name == Kernel.__module__ for name in _imports(path))
