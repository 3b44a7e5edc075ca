"""Airflow's public REST API, as far as operating a night needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from zsds_tasks.errors import TransientError

HEALTHY_PARTS = ("scheduler", "dag_processor", "triggerer")
FINAL_STATES = ("success", "failed")
ATTEMPTS = 6
PAUSE_S = 2.0


class AirflowApi:
    """A logged-in client; a context manager that closes its connections.

    Parameters
    ----------
    url : str
        Address of the API server, without path.
    username, password : str
        A login of the simple auth manager.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self._login = {"username": username, "password": password}
        # Not through a proxy of the environment: it would see the password, and cannot reach this machine.
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def wait_healthy(self, *, timeout_s: float, check: Callable[[], None] = lambda: None) -> float:
        """Wait until every part reports healthy; return the seconds it took.

        Parameters
        ----------
        timeout_s : float
            Give up after this.
        check : callable
            Called between looks; raises when waiting is hopeless.

        Raises
        ------
        TransientError
            If a part is still not healthy at the end.
        """
        started, state = time.monotonic(), "no answer"
        while time.monotonic() - started < timeout_s:
            check()
            try:
                health = self._client.get("/api/v2/monitor/health").json()
                parts = {part: (health.get(part) or {}).get("status") for part in HEALTHY_PARTS}
            except (httpx.TransportError, ValueError):
                parts = {}
            if parts and all(status == "healthy" for status in parts.values()):
                self._authenticate()
                return time.monotonic() - started
            state = str(parts or "no answer")
            time.sleep(0.5)
        raise TransientError(f"Airflow is not healthy after {timeout_s:.0f} s: {state}", subject=self.url)

    def set_pool(self, name: str, slots: int, description: str) -> None:
        """Create a pool or give it this size."""
        body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        answer = self._ask("POST", "/api/v2/pools", json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            answer = self._ask("PATCH", f"/api/v2/pools/{name}", json=body)
        _require_ok(answer)

    def wait_for_dag(self, dag_id: str, *, timeout_s: float = 120) -> None:
        """Wait until a DAG has been parsed."""
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            if self._ask("GET", f"/api/v2/dags/{dag_id}").status_code == httpx.codes.OK:
                return
            time.sleep(0.5)
        errors = self._get("/api/v2/importErrors")["import_errors"]
        detail = errors[0]["stack_trace"].splitlines()[-1] if errors else "no import error"
        raise TransientError(f"DAG {dag_id} has not been parsed: {detail}", subject=self.url)

    def run_dag(self, dag_id: str, run_id: str, logical_date: str) -> str:
        """Start a run of this name for a logical date, or the date's existing one again; return its id."""
        body = {"dag_run_id": run_id, "logical_date": logical_date}
        answer = self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            return str(_require_ok(answer)["dag_run_id"])
        same_date = {"logical_date_gte": logical_date, "logical_date_lte": logical_date}
        runs = self._get(f"/api/v2/dags/{dag_id}/dagRuns", **same_date)["dag_runs"]
        run_id = str(runs[0]["dag_run_id"])  # it may have been scheduled, and so have another name
        clear = {"dry_run": False, "only_failed": False}
        _require_ok(self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear", json=clear))
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Return each task of a run with its state, in order of their start."""
        instances = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        instances.sort(key=lambda i: i["start_date"] or "9")
        return {i["task_id"]: i["state"] or "waiting" for i in instances}

    def runs(self, dag_id: str, limit: int = 100) -> list[dict[str, Any]]:
        """Return the latest runs of a DAG."""
        return list(
            self._get(f"/api/v2/dags/{dag_id}/dagRuns", limit=limit, order_by="-run_after")["dag_runs"]
        )

    def _authenticate(self) -> None:
        token = _require_ok(self._ask("POST", "/auth/token", json=self._login))["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = self._ask("GET", path, params=params)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the token has a day to live
            self._authenticate()
            answer = self._ask("GET", path, params=params)
        return _require_ok(answer)

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Ask until there is an answer: on SQLite a request may meet a locked database (500) now and then.

        Every request of ours may be repeated: what is there already answers 409, and callers expect that.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._client.request(method, path, **content)
            except httpx.TransportError as error:
                if attempt == ATTEMPTS:
                    raise TransientError(
                        f"no answer: {error}",
                        subject=self.url + path,
                        remedy="see the logs of `make up`, run again",
                    ) from error
            else:
                if not answer.is_server_error or attempt == ATTEMPTS:
                    return answer
            time.sleep(PAUSE_S)
        raise AssertionError("unreachable: the last attempt returns or raises")


def _require_ok(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise TransientError(
            f"Airflow answered {answer.status_code}: {answer.text[:300]}", subject=str(answer.request.url)
        )
    return dict(answer.json())
