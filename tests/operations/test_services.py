from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from zsds_tasks.errors import TransientError
from zsds_tasks.operations.services import Service, stop_services

SLEEPER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"  # noqa: E501 - one program text


@pytest.fixture
def service(tmp_path):
    made = Service("sleeper", tmp_path, tmp_path)
    yield made
    stop_services([made])


def wait_for_child(process: psutil.Process) -> psutil.Process:
    for _ in range(100):
        if children := process.children():
            return children[0]
        time.sleep(0.05)
    raise AssertionError("no child appeared")


def test_stop_takes_the_whole_family_and_forgets_it(service):
    service.start([sys.executable, "-c", SLEEPER], dict(os.environ))
    process = service.process()
    child = wait_for_child(process)
    assert stop_services([service]) == ["sleeper"]
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert service.process() is None
    assert not service.record.exists()
    assert stop_services([service]) == []


def test_starting_twice_starts_once(service):
    service.start([sys.executable, "-c", SLEEPER], dict(os.environ))
    first = service.process().pid
    service.start([sys.executable, "-c", SLEEPER], dict(os.environ))
    assert service.process().pid == first


def test_a_process_id_given_to_someone_else_is_left_alone(service):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        earlier = psutil.Process(stranger.pid).create_time() - 3600
        service.record.write_text(json.dumps({"pid": stranger.pid, "started": earlier, "command": []}))
        assert service.process() is None
        assert stop_services([service]) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_dead_service_is_reported_with_the_end_of_its_log(service):
    service.start([sys.executable, "-c", "print('the disk is on fire')"], dict(os.environ))
    for _ in range(100):
        if service.process() is None:
            break
        time.sleep(0.05)
    with pytest.raises(TransientError, match=r"sleeper has stopped.*the disk is on fire"):
        service.require_alive()


def test_a_torn_record_is_no_service(service):
    service.record.write_text("{")
    assert service.process() is None
