"""What the functions of the DAGs' tasks import, read from their text; for the tests and the benchmark."""

from __future__ import annotations

import ast

from zsds_tasks.settings import REPOSITORY


def imports_of_tasks(*, idle: bool = False) -> dict[str, list[str]]:
    """Return the import statements in the function of each task, by ``<DAG file>: <task>``.

    With `idle` only those that come before a guard (a call of ``require_...``), where there is one: what a
    run imports that finds nothing to do.
    """
    found = {}
    for path in sorted((REPOSITORY / "dags").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                "task" in ast.unparse(d) for d in node.decorator_list
            ):
                found[f"{path.stem}: {node.name}"] = list(_statements(node, idle=idle))
    return found


def _statements(function: ast.FunctionDef, *, idle: bool):
    for node in function.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield ast.unparse(node)
        elif idle and isinstance(node, ast.Expr) and ast.unparse(node).startswith("require_"):
            return
