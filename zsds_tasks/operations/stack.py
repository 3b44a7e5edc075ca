"""The laptop stack: Airflow's four parts on SQLite and a Ray head, started and stopped together."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from zsds_tasks.errors import TransientError
from zsds_tasks.operations.airflow_api import AirflowApi
from zsds_tasks.operations.installation import ADMIN, LOOPBACK, Installation, free_port
from zsds_tasks.operations.services import Service, stop_services
from zsds_tasks.parallel import LOOPBACK_ONLY, worker_count

# Logs are read from disk on one machine: no part needs to serve them on a port of its own.
AIRFLOW_PARTS = {
    "api-server": [],
    "scheduler": ["--skip-serve-logs"],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
}
RAY = "ray-head"
RAY_PORTS = (6379, 6479)
# Unused by us, but a head whose client server finds its port taken dies; outside the ports of Ray's workers.
RAY_CLIENT_PORTS = (20001, 20101)
START_TIMEOUT_S = 240.0
RAY_ATTEMPTS = 3
RAY_IS_UP = "Ray runtime started"
RAY_PATIENCE = {"RAY_agent_register_timeout_ms": "120000"}


class Stack:
    """Services of one installation.

    Parameters
    ----------
    installation : Installation
        Whose.
    """

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._state = installation.run_folder / "stack.json"

    @property
    def is_up(self) -> bool:
        """Whether every service runs."""
        return self._state.exists() and all(service.process() for service in self._services())

    @property
    def url(self) -> str:
        """Address of the Airflow UI."""
        return f"http://{LOOPBACK}:{self._ports()['airflow']}"

    @property
    def ray_address(self) -> str:
        """Address of the Ray head."""
        return f"{LOOPBACK}:{self._ports()['ray']}"

    def start(self, say: Callable[[str], None] = lambda _: None) -> bool:
        """Start what does not run yet; return whether anything had to be started.

        Parameters
        ----------
        say : callable
            Told what happens, one line at a time.
        """
        self.installation.prepare()
        if self.is_up:
            return False
        self.stop()  # what is left of a stack that died half way
        ports = {
            "airflow": free_port(),
            "ray": free_port(*RAY_PORTS),
            "ray_client": free_port(*RAY_CLIENT_PORTS),
        }
        self._state.write_text(json.dumps(ports))
        environment = self.environment()
        say("starting Ray")
        command = _ray_command(ports["ray"], ports["ray_client"])
        of_ray = environment | LOOPBACK_ONLY | RAY_PATIENCE
        starts = self._ray_starts()
        self._service(RAY).start(command, of_ray)
        say("preparing Airflow's database")
        self._migrate(environment)
        self._settle_ray(command, of_ray, starts, say)
        say(f"starting Airflow: {', '.join(AIRFLOW_PARTS)}")
        for part, options in AIRFLOW_PARTS.items():
            self._service(f"airflow-{part}").start(
                [sys.executable, "-m", "airflow", part, *options], environment
            )
        return True

    def environment(self) -> dict[str, str]:
        """Return the environment in which Airflow's own command line acts on this stack."""
        return self.installation.environment(self._ports()["airflow"], self.ray_address)

    def wait(self) -> AirflowApi:
        """Wait until Airflow is healthy and its pools exist; return a logged-in client."""
        api = AirflowApi(self.url, ADMIN, self.installation.password())
        api.wait_healthy(timeout_s=START_TIMEOUT_S, check=self._require_alive)
        pools = self.installation.settings.include / "config" / "airflow" / "pools.json"
        for name, pool in json.loads(pools.read_text()).items():
            api.set_pool(name, pool["slots"], pool["description"])
        return api

    def stop(self) -> list[str]:
        """Stop what `start` started, and nothing else; return the names of what ran."""
        stopped = stop_services(self._services())
        self._state.unlink(missing_ok=True)
        return stopped

    def running(self) -> list[str]:
        """Return the names of the services that run."""
        return [s.name for s in self._services() if s.process()]

    def _services(self) -> list[Service]:
        return [self._service(name) for name in (RAY, *(f"airflow-{part}" for part in AIRFLOW_PARTS))]

    def _ports(self) -> dict[str, int]:
        return dict(json.loads(self._state.read_text()))

    def _service(self, name: str) -> Service:
        return Service(name, self.installation.run_folder, self.installation.log_folder)

    def _require_alive(self) -> None:
        for service in self._services():
            service.require_alive()

    def _settle_ray(
        self, command: list[str], environment: dict[str, str], starts: int, say: Callable[[str], None]
    ) -> None:
        """Wait until Ray's head says it is up; start it again if it gave up.

        Its parts wait only some seconds for each other, and importing them from a cold or busy disk takes
        longer; the second time they are warm.
        """
        service, deadline = self._service(RAY), time.monotonic() + START_TIMEOUT_S
        for attempt in range(1, RAY_ATTEMPTS + 1):
            if attempt > 1:
                say(f"Ray gave up; starting it again (attempt {attempt} of {RAY_ATTEMPTS})")
                service.start(command, environment)
            while service.process() is not None and time.monotonic() < deadline:
                if self._ray_starts() > starts:
                    return
                time.sleep(0.5)
        service.require_alive()

    def _ray_starts(self) -> int:
        """Return how often Ray's log, which goes on from one start to the next, says that it is up."""
        log = self._service(RAY).log
        return log.read_text(errors="replace").count(RAY_IS_UP) if log.exists() else 0

    def _migrate(self, environment: dict[str, str]) -> None:
        log = self.installation.log_folder / "airflow-migrate.log"
        with log.open("wb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", "db", "migrate"],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise TransientError(
                f"airflow db migrate failed with exit code {done.returncode}: {_tail(log)}", subject=str(log)
            )


def _tail(log: Path) -> str:
    return " / ".join(log.read_text(errors="replace").splitlines()[-3:])


def _ray_command(port: int, client_port: int) -> list[str]:
    # In the foreground: the service is this process and its children, nothing else.
    options = {
        "port": port,
        "ray-client-server-port": client_port,
        "node-ip-address": LOOPBACK,
        "num-cpus": worker_count(),
        "include-dashboard": "false",
    }
    program = str(Path(sys.executable).with_name("ray"))
    return [program, "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())]
