"""Relations between the columns of a row, written as text in an expectation suite and judged column-wise.

A relation looks like ``rcid == 4 * (ccdid - 1) + qid - 1``. Names are columns or constants; the grammar is
the small part of Python's that `_NODES` lists, so that a suite can say what is right but never do anything.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import pandas as pd

from zsds_tasks.errors import DeclarationError
from zsds_tasks.lakehouse.relation_functions import FUNCTIONS

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left.isin(list(right)),
    ast.NotIn: lambda left, right: ~left.isin(list(right)),
}
_NODES = (
    *_ARITHMETIC,
    *_COMPARISONS,
    ast.Expression,
    ast.BinOp,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.Compare,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Tuple,
)


@lru_cache(maxsize=256)
def parse_relation(text: str) -> ast.Expression:
    """Read a relation.

    Parameters
    ----------
    text : str
        Such as ``n_ccds <= n_ccds_expected``.

    Returns
    -------
    ast.Expression

    Raises
    ------
    DeclarationError
        If it is not an expression of the permitted grammar.
    """
    remedy = f"write comparisons of columns, constants and the functions {', '.join(FUNCTIONS)}"
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise DeclarationError(f"not a relation: {error.msg}", subject=text, remedy=remedy) from error
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise DeclarationError(
                f"{type(node).__name__} has no place in a relation", subject=text, remedy=remedy
            )
        if isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords
        ):
            raise DeclarationError("calls an unknown function", subject=text, remedy=remedy)
    return tree


def names_in(text: str) -> tuple[str, ...]:
    """Return the columns and constants a relation names, in order of appearance."""
    tree = parse_relation(text)
    # A column may be called as a function is (epochs.separation): what is called is no column.
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called]
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    return tuple(dict.fromkeys(node.id for node in nodes))


def holds(text: str, frame: pd.DataFrame, constants: Mapping[str, Any]) -> pd.Series:
    """Judge a relation on every row.

    Parameters
    ----------
    text : str
        The relation.
    frame : pandas.DataFrame
        The rows.
    constants : Mapping
        Values of names that are no columns.

    Returns
    -------
    pandas.Series
        (n_rows,) bool; a row whose nulls leave the answer open does not hold.

    Raises
    ------
    DeclarationError
        If the relation names something that is neither a column nor a constant.
    """
    result = _Evaluation(text, frame, constants).of(parse_relation(text).body)
    if not isinstance(result, pd.Series):
        return pd.Series(bool(result), index=frame.index, dtype=bool)
    return result.astype("boolean").fillna(False).astype(bool)


class _Evaluation:
    """One relation on one frame."""

    def __init__(self, text: str, frame: pd.DataFrame, constants: Mapping[str, Any]) -> None:
        self._text = text
        self._frame = frame
        self._constants = constants

    def of(self, node: ast.AST) -> Any:  # noqa: PLR0911 - one return per kind of node
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._value(node.id)
            case ast.Tuple():
                return tuple(self.of(element) for element in node.elts)
            case ast.BinOp():
                return _ARITHMETIC[type(node.op)](self.of(node.left), self.of(node.right))
            case ast.UnaryOp():
                value = self.of(node.operand)
                return -value if isinstance(node.op, ast.USub) else ~_logical(value)
            case ast.BoolOp(op=op, values=values):
                combine = operator.and_ if isinstance(op, ast.And) else operator.or_
                return reduce(combine, [_logical(self.of(value)) for value in values])
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return FUNCTIONS[name](*(self.of(argument) for argument in arguments))
        raise DeclarationError(f"cannot judge {type(node).__name__}", subject=self._text)

    def _compare(self, node: ast.Compare) -> Any:
        result: Any = None
        left = self.of(node.left)
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.of(comparator)
            step = _logical(_COMPARISONS[type(op)](left, right))
            result = step if result is None else result & step
            left = right
        return result

    def _value(self, name: str) -> Any:
        if name in self._frame.columns:
            column = self._frame[name]
            # Narrow types would overflow (nid * 100000) or round (float32) inside an expression.
            if pd.api.types.is_bool_dtype(column.dtype):
                return column.astype("boolean")
            if pd.api.types.is_integer_dtype(column.dtype):
                return column.astype("Int64" if column.isna().any() else "int64")
            if pd.api.types.is_float_dtype(column.dtype):
                return column.astype("float64")
            return column
        if name in self._constants:
            return self._constants[name]
        raise DeclarationError(
            f"{name!r} is neither a column nor a constant",
            subject=self._text,
            remedy=f"constants: {', '.join(sorted(self._constants)) or 'none'}",
        )


def _logical(value: Any) -> Any:
    """Three-valued logic for columns, so that `isnull(x) or x > 0` is true where x is null."""
    if isinstance(value, pd.Series):
        return value.astype("boolean")
    return np.bool_(value)
