"""Our own expectation for Great Expectations: a relation holds on every row.

Importing this imports Great Expectations (5 s): only `zsds_tasks.lakehouse.checks` does, inside a function.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import MulticolumnMapMetricProvider
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)

from zsds_tasks.lakehouse.relations import holds


class MulticolumnValuesRelation(MulticolumnMapMetricProvider):
    """Which rows satisfy a relation; Great Expectations counts and samples the others."""

    condition_metric_name = "multicolumn_values.relation"
    condition_domain_keys = (
        "batch_id",
        "table",
        "column_list",
        "row_condition",
        "condition_parser",
        "ignore_row_if",
    )
    condition_value_keys = ("relation", "constants")

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _pandas(
        cls,  # noqa: N805 - the decorator makes it a class method
        column_list: pd.DataFrame,
        relation: str,
        constants: dict[str, Any],
        **_: Any,
    ) -> pd.Series:
        return holds(relation, column_list, constants)


class ExpectRowsToSatisfy(MulticolumnMapExpectation):
    """Expect every row to satisfy a relation of its columns; see `zsds_tasks.lakehouse.relations`."""

    relation: str
    constants: dict[str, Any]
    ignore_row_if: str = "never"  # a row of nulls is judged like any other

    map_metric: ClassVar[str] = "multicolumn_values.relation"
    success_keys: ClassVar[tuple[str, ...]] = ("relation", "constants", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "relation", "constants")
