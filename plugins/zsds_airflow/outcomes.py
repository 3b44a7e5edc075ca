"""Our errors as Airflow's outcomes: the one place that decides retry, fail at once, or skip.

NothingToDoError                        -> skipped
UnusableInputError, ConfigurationError  -> failed at once: a retry would meet the same input
TransientError, and anything unforeseen -> retried by the task's policy
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# What every task of ours starts from; a DAG overrides what differs.
RETRY_POLICY = {
    "retries": 3,
    "retry_delay": 20.0,  # seconds
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": 600.0,
}


def step(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a task's function and turn our errors into Airflow's outcomes."""

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

        from zsds_tasks.errors import ConfigurationError, NothingToDoError, UnusableInputError

        try:
            return json_values(function(*args, **kwargs))
        except NothingToDoError as nothing:
            raise AirflowSkipException(str(nothing)) from nothing
        except (UnusableInputError, ConfigurationError) as hopeless:
            raise AirflowFailException(str(hopeless)) from hopeless

    return run


def json_values(result: Any) -> Any:
    """Return a task's result as JSON can hold it: None for a number that is none (NaN, infinity)."""
    if isinstance(result, float):
        return result if math.isfinite(result) else None
    if isinstance(result, dict):
        return {name: json_values(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [json_values(value) for value in result]
    return result
