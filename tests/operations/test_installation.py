from __future__ import annotations

import socket
import stat

import pytest

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.operations.airflow_api import AirflowApi
from zsds_tasks.operations.doctor import examine, folder_size
from zsds_tasks.operations.installation import LOOPBACK, Installation, free_port


def test_secrets_are_drawn_once_and_kept_private(settings):
    installation = Installation(settings)
    installation.prepare()
    before = installation.environment(8080, "127.0.0.1:6379")
    installation.prepare()
    assert installation.environment(8080, "127.0.0.1:6379") == before
    for path in (installation.password_file, installation.airflow_home / "secrets.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_installations_share_no_secret(settings, tmp_path):
    other = Installation(settings.model_copy(update={"var": tmp_path / "other"}))
    ours = Installation(settings)
    ours.prepare()
    other.prepare()
    assert ours.password() != other.password()


def test_everything_listens_on_loopback_only(settings):
    installation = Installation(settings)
    installation.prepare()
    environment = installation.environment(8123, "127.0.0.1:6379")
    assert environment["AIRFLOW__API__HOST"] == LOOPBACK
    assert environment["AIRFLOW__API__PORT"] == "8123"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"


def test_nothing_on_this_machine_is_asked_through_a_proxy(settings, monkeypatch):
    installation = Installation(settings)
    installation.prepare()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.77:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "example.org")
    environment = installation.environment(8080, "127.0.0.1:6379")
    assert environment["no_proxy"] == environment["NO_PROXY"] == "example.org,127.0.0.1"
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{closed.getsockname()[1]}"
        with AirflowApi(url, "admin", "x") as api, pytest.raises(TransientError, match="refused"):
            api.run_dag("night", "a", "2025-10-12T00:00:00Z")


def test_a_taken_port_is_passed_over():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port, port + 20) != port
        with pytest.raises(ConfigurationError, match="no free port"):
            free_port(port, port + 1)


def test_the_doctor_finds_a_fresh_installation_well(settings):
    findings = {finding.subject: finding for finding in examine(settings)}
    assert findings["python"].ok
    assert findings["packages"].ok, findings["packages"].detail
    assert findings["camera"].detail.startswith("mini: 8 quadrants")
    assert "no tables yet" in findings["storage"].detail


def test_the_doctor_names_a_wrong_camera_and_goes_on(settings):
    findings = examine(settings.model_copy(update={"camera": "lsst"}))
    wrong = [finding for finding in findings if not finding.ok]
    assert [finding.subject for finding in wrong] == ["camera"]
    assert "known here: mini, ztf" in wrong[0].detail
    assert any(finding.subject == "disk" for finding in findings)


def test_a_hard_linked_file_is_counted_once(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert folder_size(tmp_path) == 1000
