"""The client against a real HTTP server that is not always well."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from zsds_tasks.errors import TransientError
from zsds_tasks.operations import airflow_api
from zsds_tasks.operations.airflow_api import AirflowApi

HEALTH = {part: {"status": "healthy"} for part in airflow_api.HEALTHY_PARTS}


class Airflow(BaseHTTPRequestHandler):
    """Answers from a script: path to a list of (status, body), the last one for ever."""

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        script = self.server.script[(self.command, path)]
        status, body = script.pop(0) if len(script) > 1 else script[0]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(airflow_api, "PAUSE_S", 0.0)
    made = HTTPServer(("127.0.0.1", 0), Airflow)
    made.asked = []
    made.script = {
        ("GET", "/api/v2/monitor/health"): [(200, HEALTH)],
        ("POST", "/auth/token"): [(201, {"access_token": "t"})],
    }
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def api(server):
    with AirflowApi(f"http://127.0.0.1:{server.server_port}", "admin", "p") as client:
        client.wait_healthy(timeout_s=5)
        server.asked.clear()
        yield client


def test_a_locked_database_is_asked_again(server, api):
    server.script["POST", "/api/v2/pools"] = [(500, {}), (500, {}), (201, {"name": "zsds"})]
    api.set_pool("zsds", 2, "")
    assert len(server.asked) == 3


def test_a_pool_that_is_there_gets_its_size(server, api):
    server.script["POST", "/api/v2/pools"] = [(409, {})]
    server.script["PATCH", "/api/v2/pools/zsds"] = [(200, {"name": "zsds"})]
    api.set_pool("zsds", 2, "")
    assert server.asked == [("POST", "/api/v2/pools"), ("PATCH", "/api/v2/pools/zsds")]


def test_a_night_that_has_a_run_is_run_again(server, api):
    runs = "/api/v2/dags/night/dagRuns"
    server.script["POST", runs] = [(409, {})]
    server.script["GET", runs] = [(200, {"dag_runs": [{"dag_run_id": "scheduled__night_20251012"}]})]
    server.script["POST", f"{runs}/scheduled__night_20251012/clear"] = [(200, {})]
    assert api.run_dag("night", "night_20251012", "2025-10-12T00:00:00Z") == "scheduled__night_20251012"


def test_a_server_that_stays_ill_is_a_transient_error(server, api):
    server.script["GET", "/api/v2/dags/night/dagRuns/x"] = [(500, {"detail": "database is locked"})]
    with pytest.raises(TransientError, match=r"answered 500.*database is locked"):
        api.run_state("night", "x")
    assert len(server.asked) == airflow_api.ATTEMPTS


def test_an_expired_token_is_renewed(server, api):
    server.script["GET", "/api/v2/dags/night/dagRuns/x"] = [(401, {}), (200, {"state": "success"})]
    assert api.run_state("night", "x") == "success"
    assert ("POST", "/auth/token") in server.asked


def test_nobody_there_is_a_transient_error(monkeypatch):
    monkeypatch.setattr(airflow_api, "PAUSE_S", 0.0)
    with (
        AirflowApi("http://127.0.0.1:9", "admin", "p") as api,
        pytest.raises(TransientError, match="no answer"),
    ):
        api.run_state("night", "x")
