"""Kernels are compiled ahead: all modules that hold some are found, and those they rest on come first."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from zsds_tasks.operations.kernels import kernel_modules


def source(name):
    spec = importlib.util.find_spec(name)
    return ast.parse(Path(spec.origin).read_text())


def test_every_module_with_a_kernel_is_named_once():
    import zsds_tasks

    root = Path(zsds_tasks.__file__).parent
    holders = {
        ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for path in root.rglob("*.py")
        if any(line.startswith(("@njit", "@compiled")) for line in path.read_text().splitlines())
    }
    names = kernel_modules()
    assert len(names) == len(set(names)) > 40
    assert holders <= set(names)


def test_what_others_import_comes_before_them():
    names = kernel_modules()
    place = {name: n for n, name in enumerate(names)}
    pairs = [
        (node.module, name)
        for name in names
        for node in source(name).body
        if isinstance(node, ast.ImportFrom) and node.module in place
    ]
    assert len(pairs) > 20
    assert all(place[below] < place[above] for below, above in pairs)
