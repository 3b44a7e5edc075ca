"""Many writers at once lose no row and double none; a killed writer leaves whole commits only."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from writer_process import OWN, SHARED, rows_of

from zsds_tasks.lakehouse import delta
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.lakehouse.maintenance import sweep
from zsds_tasks.lakehouse.publish import latest, publish, sweep_unfinished, versions
from zsds_tasks.products.tables import conform

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def start_writer(storage, writer, count):
    paths = os.pathsep.join([str(REPOSITORY), str(HERE)])
    return subprocess.Popen(
        [sys.executable, str(HERE / "writer_process.py"), storage.root, str(writer), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def test_processes_that_merge_the_same_keys(local_storage, local_table):
    writers, turns = 3, 3
    processes = [start_writer(local_storage, writer, turns) for writer in range(writers)]
    versions = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        versions += [int(line.split()[1]) for line in output.splitlines()]
    assert len(set(versions)) == len(versions) == writers * turns
    rows = local_table.read()
    keys = rows.column("detid").to_pylist()
    assert len(keys) == len(set(keys)) == SHARED + writers * turns * OWN
    # Shared rows: all as the last of the merges left them.
    last = {(row["expid"], row["mag"]) for row in rows.slice(0, SHARED).to_pylist()}
    assert len(last) == 1
    newest = local_table.history()[0]
    assert newest["version"] == max(versions)
    assert newest["inserted"] == OWN
    assert newest["updated"] == SHARED


def test_threads_that_merge_the_same_keys(local_table):
    failures = []

    def work(writer):
        try:
            for turn in range(4):
                local_table.merge(rows_of(writer, turn))
        except Exception as error:  # noqa: BLE001 - a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert local_table.count() == SHARED + 3 * 4 * OWN


@pytest.mark.parametrize("attempt", range(2))
def test_a_killed_writer_leaves_whole_commits_only(local_storage, local_table, declaration, attempt):
    delay_s = random.Random(attempt).uniform(0.0, 0.3)
    writer = start_writer(local_storage, attempt, 10_000)
    assert writer.stdout.readline()  # it is at work
    time.sleep(delay_s)
    writer.send_signal(signal.SIGKILL)
    said = writer.stdout.read().splitlines()
    writer.wait()
    writer.stdout.close()
    rows = local_table.read(where={"detid": (1_000_000, None)})
    turns = rows.num_rows // OWN
    assert rows.num_rows % OWN == 0
    # Everything it reported is there; at most one commit more was made and not reported.
    assert turns in {len(said) + 1, len(said) + 2}
    last = conform(rows_of(attempt, turns - 1), declaration)
    assert local_table.merge(last).version is None
    local_table.vacuum(0)
    sweep(local_storage, referenced=set(), older_than_hours=0.0)
    snapshot = local_table.snapshot()
    kept = {snapshot.path(file) for file in snapshot.files}
    found = {entry.path for entry in local_storage.list(f"{local_table.folder}")}
    assert {path for path in found if "_delta_log" not in path} == kept


def test_a_commit_whose_answer_was_lost_is_known_as_our_own(local_table, monkeypatch):
    """An object store asked twice refuses the second time; taking that for a lost race deleted live files."""
    genuine = delta.commit

    def unheard(*arguments, **options):
        genuine(*arguments, **options)
        raise delta.OvertakenError("version exists")

    monkeypatch.setattr(delta, "commit", unheard)
    assert local_table.merge(rows_of(0, 0)).version == 1
    assert local_table.read().num_rows == SHARED + OWN
    monkeypatch.undo()
    assert local_table.merge(rows_of(0, 0)).version is None


def test_a_lost_race_leaves_no_file_behind(local_storage, local_table, monkeypatch):
    genuine, races = delta.commit, []

    def beaten(table, *arguments, **options):
        if not races:
            races.append(local_table.version())
            genuine(table, local_table.declaration, [], [], facts={})  # another writer's version
        return genuine(table, *arguments, **options)

    monkeypatch.setattr(delta, "commit", beaten)
    assert local_table.merge(rows_of(0, 0)).version == 2
    kept = {local_table.snapshot().path(file) for file in local_table.snapshot().files}
    found = {entry.path for entry in local_storage.list(local_table.folder)}
    assert {path for path in found if "_delta_log" not in path} == kept


def test_every_commit_is_made_durable(local_storage, local_table, monkeypatch):
    """Raw frames leave the incoming folder after the commit: a power cut must not take the commit alone."""
    flushed = []
    monkeypatch.setattr(type(local_storage), "make_durable", lambda _, path: flushed.append(path))
    versions = [local_table.merge(rows_of(0, turn)).version for turn in range(2)]
    monkeypatch.undo()
    assert flushed == [f"lake/detections/_delta_log/{version:020d}.json" for version in versions]
    for path in flushed:
        local_storage.make_durable(path)
    with pytest.raises(FileNotFoundError):
        local_storage.make_durable("lake/detections/_delta_log/none.json")


PUBLISHER = """
import sys
from conftest import DECLARATION
from writer_process import rows_of
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.lakehouse.tables import Table
from zsds_tasks.products.tables import parse_table
from zsds_tasks.settings import Settings
table = Table(open_storage(sys.argv[1], Settings()), parse_table(DECLARATION))
for turn in range(10_000):
    table.merge(rows_of(0, turn))
    print(publish(table).version, flush=True)
"""


def test_a_killed_publisher_leaves_latest_whole(local_storage, local_table):
    paths = os.pathsep.join([str(REPOSITORY), str(HERE)])
    command = [sys.executable, "-c", PUBLISHER, local_storage.root]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as publisher:
        assert publisher.stdout.readline() == "1\n"
        time.sleep(random.Random(3).uniform(0.1, 0.3))
        publisher.send_signal(signal.SIGKILL)
        said = [1, *(int(line) for line in publisher.stdout)]
    current = latest(local_storage, "detections")
    assert current.version in {said[-1], said[-1] + 1}
    assert HatsReader(current.uri).read(["detid"]).num_rows == current.rows
    whole = [number for number in versions(local_storage, "detections") if number <= current.version]
    sweep_unfinished(local_storage, "detections", older_than_hours=0.0, now=datetime.now(UTC))
    assert set(versions(local_storage, "detections")) <= {*whole, current.version + 1}
    assert publish(local_table).rows == local_table.count()
