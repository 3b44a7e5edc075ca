"""Start and stop background processes, and never touch one that is not ours.

A running service is remembered as ``run/<name>.json`` with its process id and start time: a process id that
the system has given to someone else since does not match, and is left alone.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from zsds_tasks.errors import TransientError

STOP_PATIENCE_S = 8.0


@dataclass(frozen=True)
class Service:
    """A background process of an installation.

    Parameters
    ----------
    name : str
        Names its log and its record.
    run_folder, log_folder : Path
        Where those lie.
    """

    name: str
    run_folder: Path
    log_folder: Path

    @property
    def record(self) -> Path:
        """The JSON that remembers the running process."""
        return self.run_folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.log_folder / f"{self.name}.log"

    def start(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start the process in a session of its own, unless it runs already."""
        if self.process() is not None:
            return
        # posix_spawn rather than Popen: the child is meant to outlive this process and its object.
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            streams = ((nothing, 0), (log, 1), (log, 2))
            pid = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), number) for stream, number in streams],
                setsid=True,
            )
        started = psutil.Process(pid).create_time()
        temporary = self.record.with_suffix(".tmp")
        temporary.write_text(json.dumps({"pid": pid, "started": started, "command": list(command)}))
        temporary.replace(self.record)

    def process(self) -> psutil.Process | None:
        """Return the running process, or None."""
        try:
            known = json.loads(self.record.read_text())
            process = psutil.Process(known["pid"])
            same = abs(process.create_time() - known["started"]) < 1.0
        except (FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
            return None
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None

    def require_alive(self) -> None:
        """Raise `TransientError` with the end of its log if the process has died."""
        if self.process() is None:
            raise TransientError(
                f"{self.name} has stopped; its log ends: {self.log_tail()}",
                subject=str(self.log),
                remedy="read the log, mend the cause, run again",
            )

    def log_tail(self, lines: int = 5) -> str:
        """Return the last lines of the log."""
        with suppress(FileNotFoundError):
            return " / ".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"


def stop_services(services: Sequence[Service]) -> list[str]:
    """Stop these services and every process they started; return the names of those that ran.

    All are asked at once, then given `STOP_PATIENCE_S`, then killed.
    """
    running = {service: process for service in services if (process := service.process()) is not None}
    family = [
        member for process in running.values() for member in (*process.children(recursive=True), process)
    ]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
        _, family = psutil.wait_procs(family, timeout=STOP_PATIENCE_S)
        if not family:
            break
    for service in services:
        service.record.unlink(missing_ok=True)
    return [service.name for service in running]
