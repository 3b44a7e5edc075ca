"""Run expectation suites on rows with Great Expectations 1.x, and return what they found as plain values.

Great Expectations takes 5 s to import: it is imported inside functions, only where something is checked.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from zsds_tasks.errors import DeclarationError
from zsds_tasks.lakehouse.findings import EXAMPLES, Finding, TableCheck, off
from zsds_tasks.lakehouse.relations import names_in
from zsds_tasks.lakehouse.suites import RELATION, Expected, Lookup, Suite, declared_suite
from zsds_tasks.products.tables import INDEX_COLUMN, TableDeclaration

__all__ = ["Finding", "TableCheck", "add_lookups", "check_rows", "to_pandas"]

_TAKEN = "__taken__"
_RANGE = "expect_column_values_to_be_between"


def check_rows(
    rows: pa.Table,
    declaration: TableDeclaration,
    suite: Suite,
    *,
    version: int,
    constants: Mapping[str, Any] | None = None,
    others: Mapping[str, pa.Table] | None = None,
) -> TableCheck:
    """Judge rows of one table.

    Parameters
    ----------
    rows : pyarrow.Table
        In the declared columns; with the spatial index before them, it is judged as well.
    declaration : TableDeclaration
        Gives the base suite.
    suite : Suite
        Written by hand; may be empty.
    version : int
        Version of the table the rows come from.
    constants : Mapping, optional
        Values of names in relations that are no columns.
    others : Mapping of str to pyarrow.Table, optional
        Rows of the tables that the suite's lookups name.

    Returns
    -------
    TableCheck
        Declared expectations first, in order.

    Raises
    ------
    DeclarationError
        If a lookup or relation names what does not exist.
    """
    frame = to_pandas(rows)
    key = list(declaration.key)
    base = declared_suite(declaration, indexed=INDEX_COLUMN in rows.schema.names)
    findings = _validate_declared(frame, base.expectations, key)
    if suite.expectations:
        joined = add_lookups(frame, suite.meta.lookups, others or {}, subject=declaration.table)
        _check_names(suite, joined, constants or {})
        findings += _validate(joined, suite.expectations, key, constants or {})
    return TableCheck(declaration.table, version, rows.num_rows, tuple(findings))


def _validate_declared(
    frame: pd.DataFrame, expectations: Sequence[Expected], key: list[str]
) -> list[Finding]:
    """Judge what is declared; ranges on 64-bit columns: others would be compared value by value in Python."""
    ranges = [e for e in expectations if e.type == _RANGE]
    others = [e for e in expectations if e.type != _RANGE]
    wide = {
        name: "float64" if frame[name].dtype.kind == "f" or frame[name].isna().any() else "int64"
        for name in {str(e.column) for e in ranges} & set(frame.columns)
        if pd.api.types.is_numeric_dtype(frame[name].dtype) and getattr(frame[name].dtype, "itemsize", 8) < 8
    }
    found = dict(zip(map(id, others), _validate(frame, others, key, {}), strict=True))
    if ranges:
        columns = list(dict.fromkeys([*key, *(str(e.column) for e in ranges)]))
        widened = frame[[name for name in columns if name in frame.columns]].astype(wide)
        found |= dict(zip(map(id, ranges), _validate(widened, ranges, key, {}), strict=True))
    return [found[id(expected)] for expected in expectations]


def to_pandas(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a frame whose integers stay integers beside nulls; nested columns stay Arrow's."""
    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    nested = [field.name for field in rows.schema if pa.types.is_struct(field.type)]
    frame: pd.DataFrame = rows.drop_columns(nested).to_pandas()
    for name in nested:
        frame[name] = pd.arrays.ArrowExtensionArray(rows.column(name))
    frame = frame[list(rows.schema.names)] if nested else frame
    for field in rows.schema:
        if rows.column(field.name).null_count and field.type in nullable:
            frame[field.name] = rows.column(field.name).to_pandas(types_mapper=nullable.get)
    return frame


def add_lookups(
    frame: pd.DataFrame, lookups: Sequence[Lookup], others: Mapping[str, pa.Table], *, subject: str
) -> pd.DataFrame:
    """Return the frame with the columns that lookups add.

    Raises
    ------
    DeclarationError
        If a lookup names a table or column that is not there.
    """
    joined = frame.copy(deep=False)
    for lookup in lookups:
        if lookup.table not in others or not lookup.there <= set(others[lookup.table].schema.names):
            raise DeclarationError(
                f"lookup {lookup.column!r} needs {', '.join(sorted(lookup.there))} of table {lookup.table!r}",
                subject=subject,
                remedy="mend meta.lookups of the suite",
            )
        by = list(lookup.pairs)
        found = _found(lookup, to_pandas(others[lookup.table].select(sorted(lookup.there))))
        # Only the columns that must agree are joined: rows keep their order, wide tables are not copied.
        column = frame[by].merge(found.rename(_TAKEN).reset_index(), on=by, how="left")[_TAKEN]
        if lookup.wanted is None:
            column = column.fillna(0).astype("int64")
        elif lookup.sum is not None:
            column = column.fillna(0)
        joined[lookup.column] = column.array
    return joined


def _found(lookup: Lookup, other: pd.DataFrame) -> pd.Series:
    """Return what a lookup adds, by the columns that must agree."""
    here = {there: here for here, there in lookup.pairs.items()}
    by = list(lookup.pairs)
    if lookup.wanted is None:
        return other.rename(columns=here).groupby(by).size()
    kind, name = lookup.wanted
    other[_TAKEN] = other[name]  # under a name of its own: it may be one of those that must agree
    other = other.rename(columns=here)
    if kind == "take":
        # A key that is doubled there is another expectation's business; rows here must not multiply.
        return other.drop_duplicates(by).set_index(by)[_TAKEN]
    groups = other.groupby(by)[_TAKEN]
    return {"sum": groups.sum, "smallest": groups.min, "largest": groups.max}[kind]()


def _check_names(suite: Suite, frame: pd.DataFrame, constants: Mapping[str, Any]) -> None:
    for expected in suite.expectations:
        if expected.type == RELATION:
            unknown = set(names_in(expected.kwargs["relation"])) - set(frame.columns) - set(constants)
        else:
            unknown = {expected.column} - set(frame.columns) if expected.column else set()
        if unknown:
            raise DeclarationError(
                f"{expected.description!r} names unknown {', '.join(sorted(map(str, unknown)))}",
                subject=suite.name,
                remedy=f"columns are {', '.join(frame.columns)}; constants {', '.join(sorted(constants))}",
            )


def _validate(
    frame: pd.DataFrame, expectations: Sequence[Expected], key: list[str], constants: Mapping[str, Any]
) -> list[Finding]:
    gx, registry = _great_expectations()
    batch = _batch(gx, frame)
    # All at once: adding one by one compares each with all before it.
    suite = gx.ExpectationSuite(
        name="rows",
        expectations=[
            registry(expected.type)(
                **_arguments(expected, frame, key, constants),
                severity=expected.severity,
                description=expected.description,
                meta={"n": number},
            )
            for number, expected in enumerate(expectations)
        ],
    )
    result_format = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": EXAMPLES,
        "unexpected_index_column_names": key,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, about pandas 3; ours are raised where ours are made
        outcome = batch.validate(suite, result_format=result_format)
    found = {result.expectation_config.meta["n"]: result for result in outcome.results}
    return [_finding(expected, found[n], len(frame)) for n, expected in enumerate(expectations)]


def _arguments(
    expected: Expected, frame: pd.DataFrame, key: list[str], constants: Mapping[str, Any]
) -> dict[str, Any]:
    if expected.type != RELATION:
        return expected.kwargs
    named = [name for name in names_in(expected.kwargs["relation"]) if name in frame.columns]
    # The key makes examples recognisable; Great Expectations wants two columns at least.
    columns = list(dict.fromkeys([*named, *key, *frame.columns[:2]]))[: max(2, len({*named, *key}))]
    return expected.kwargs | {"column_list": columns, "constants": dict(constants)}


def _finding(expected: Expected, result: Any, rows: int) -> Finding:
    if result.success:
        return Finding(expected, success=True, rows=rows, unexpected=0, observed=None)
    failure = _exception(result.exception_info)
    details: Mapping[str, Any] = result.result or {}
    unexpected = int(details.get("unexpected_count", rows))
    values = tuple(dict.fromkeys(_word(v) for v in details.get("partial_unexpected_list", [])))
    if failure:
        observed = f"could not be evaluated: {failure}"
    elif "unexpected_count" in details:
        observed = off(unexpected, rows, values)
    else:
        observed = f"found {_word(details.get('observed_value'))}"
    examples = tuple(
        {name: _word(value) for name, value in example.items()}
        for example in (details.get("partial_unexpected_index_list") or [])[:EXAMPLES]
    )
    return Finding(
        expected,
        success=False,
        rows=rows,
        unexpected=unexpected,
        observed=observed,
        examples=examples,
        values=values if observed == off(unexpected, rows, values) else (),
    )


def _exception(info: Mapping[str, Any]) -> str:
    """Return the message of what went wrong inside an expectation; empty if nothing did."""
    for entry in (info, *(value for value in info.values() if isinstance(value, dict))):
        if entry.get("raised_exception"):
            return str(entry.get("exception_message"))
    return ""


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_word(v)}" for name, v in value.items())
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    if isinstance(value, list | tuple | set):
        return ", ".join(_word(v) for v in value)
    return str(value)


def _batch(gx: Any, frame: pd.DataFrame) -> Any:
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415 - slow import

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("lakehouse").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("night").get_batch(
        batch_parameters={"dataframe": frame}
    )


@cache
def _great_expectations() -> tuple[Any, Any]:
    """Import Great Expectations quietly; return the module and a lookup of expectation classes."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # Under Airflow's structured logging it would print hundreds of lines while it registers functions.
    for name in ("great_expectations", "great_expectations._docs_decorators"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx  # noqa: PLC0415 - 5 s, see the module's docstring
        from great_expectations.expectations.registry import (  # noqa: PLC0415 - the same
            get_expectation_impl,
        )

        import zsds_tasks.lakehouse.gx_relations  # noqa: F401, PLC0415 - registers our expectation

    return gx, get_expectation_impl
