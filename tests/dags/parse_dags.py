"""Parse every DAG file as the DAG processor does and print what was found as JSON; run by the tests."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import airflow.sdk  # noqa: F401 - the bare Airflow that DAG files are measured against
from airflow.sdk import DAG
from airflow.timetables.base import Timetable  # noqa: F401 - what any custom timetable brings with it
from airflow.triggers.base import BaseEventTrigger  # noqa: F401 - the same for a trigger


def describe(dag: DAG) -> dict[str, object]:
    return {
        "timetable": type(dag.timetable).__name__,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "doc": bool(dag.doc_md),
        "tasks": {
            task.task_id: {
                "downstream": sorted(task.downstream_task_ids),
                "pool": task.pool,
                "retries": task.retries,
                "trigger_rule": task.trigger_rule.value,
                "mapped": task.is_mapped,
            }
            for task in dag.tasks
        },
    }


def main(folder: Path) -> None:
    found: dict[str, object] = {}
    for path in sorted(folder.glob("*.py")):
        before = set(sys.modules)
        names = runpy.run_path(str(path))
        dags = {}
        for value in names.values():
            made = getattr(value, "dag", value)
            if isinstance(made, DAG):
                dags[made.dag_id] = describe(made)
        found[path.name] = {"dags": dags, "imported": sorted(set(sys.modules) - before)}
    print(json.dumps(found))  # noqa: T201 - the answer


main(Path(sys.argv[1]))
