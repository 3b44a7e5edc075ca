"""Kernels are compiled ahead: all modules that hold some are found, and those they rest on come first."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from zsds_tasks.operations.kernels import kernel_modules
from zsds_tasks.pixels.kernels import stamp_of


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


def fresh(name):
    """Import a module as a new process would."""
    for known in [known for known in sys.modules if known.startswith("made_")]:
        del sys.modules[known]
    importlib.invalidate_caches()
    return importlib.import_module(name)


HEAD = "from zsds_tasks.pixels.kernels import compiled\n"
UPPER = HEAD + (
    "from made_lower import SHARE, double\n\n"
    '@compiled("f8(f8)", cache=True)\n'
    "def both(x):\n"
    "    return double(x) + SHARE\n"
)


def lower(factor, share):
    return (
        HEAD
        + f'SHARE = {share}\n\n@compiled("f8(f8)", cache=True)\ndef double(x):\n    return x * {factor}\n'
    )


def test_what_is_kept_holds_only_while_callees_and_constants_do(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "made_upper.py").write_text(UPPER)
    for k, (factor, share, expected) in enumerate([(2.0, 1.0, 7.0), (3.0, 0.5, 9.5)]):
        (tmp_path / "made_lower.py").write_text(lower(factor, share))
        os.utime(tmp_path / "made_lower.py", (k, k))
        both = fresh("made_upper").both
        assert both(3.0) == expected
        assert sum(both.stats.cache_hits.values()) == 0
    again = fresh("made_upper")
    assert again.both(3.0) == 9.5
    assert sum(again.both.stats.cache_hits.values()) == 1
    stamp = stamp_of(again.both.py_func)
    again.SHARE = 0.25
    assert stamp_of(again.both.py_func) != stamp
