"""Where a laptop installation keeps its services' things, and the environment they all share.

Everything lies under ``ZSDS_VAR``: ``airflow/`` (Airflow's home), ``run/`` (one JSON per running service),
``logs/``. Secrets are drawn once, kept in ``airflow/secrets.json`` with mode 600, and reach the services
through their environment only.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.operations.preload import preload_environment
from zsds_tasks.parallel import ONE_THREAD
from zsds_tasks.settings import REPOSITORY, Settings

LOOPBACK = "127.0.0.1"
FIRST_PORT, LAST_PORT = 8080, 8180
ADMIN = "admin"


@dataclass(frozen=True)
class Installation:
    """One laptop installation.

    Parameters
    ----------
    settings : Settings
        Where it keeps its data.
    """

    settings: Settings

    @property
    def airflow_home(self) -> Path:
        """Airflow's home."""
        return self.settings.var / "airflow"

    @property
    def run_folder(self) -> Path:
        """One JSON per running service."""
        return self.settings.var / "run"

    @property
    def log_folder(self) -> Path:
        """One log per service."""
        return self.settings.var / "logs"

    @property
    def password_file(self) -> Path:
        """Airflow's simple login, name to password."""
        return self.airflow_home / "passwords.json"

    def prepare(self) -> None:
        """Make the folders, draw the secrets and the password where they do not exist yet."""
        for folder in (self.airflow_home, self.run_folder, self.log_folder, self.settings.incoming_folder):
            folder.mkdir(parents=True, exist_ok=True)
        _write_once(
            self.airflow_home / "secrets.json", {n: secrets.token_urlsafe(64) for n in ("api", "jwt", "ray")}
        )
        _write_once(self.password_file, {ADMIN: secrets.token_urlsafe(9)})

    def password(self) -> str:
        """Return the login's password."""
        return str(json.loads(self.password_file.read_text())[ADMIN])

    def environment(self, port: int, ray_address: str) -> dict[str, str]:
        """Return the environment of every service: ours, Airflow's, Ray's address."""
        drawn = self._secrets()
        url, home = f"http://{LOOPBACK}:{port}", self.airflow_home.resolve()
        # Tasks talk to the API server: never through a proxy that the environment may name.
        direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), LOOPBACK)))
        own = {
            "ZSDS_VAR": str(self.settings.var.resolve()),
            # Airflow starts its parts by name, so the environment's own programs must come first.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "",  # else each of a night's hundred processes compiles its imports
            "NO_PROXY": direct,
            "no_proxy": direct,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.password_file.resolve()),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": drawn["api"],
            "AIRFLOW__API_AUTH__JWT_SECRET": drawn["jwt"],
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # A task whose pipes another one has inherited is seen to have ended at its next heartbeat.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "GX_ANALYTICS_ENABLED": "false",
        }
        # What a task does itself it does as Ray's workers would, bit by bit, and several run side by side.
        return os.environ | ONE_THREAD | own | preload_environment() | self.ray_environment(ray_address)

    def ray_environment(self, ray_address: str) -> dict[str, str]:
        """Return what a process needs to join this installation's Ray head: its address and its token."""
        return {
            "ZSDS_RAY_ADDRESS": ray_address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._secrets()["ray"],
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def _secrets(self) -> dict[str, str]:
        return dict(json.loads((self.airflow_home / "secrets.json").read_text()))


def free_port(first: int = FIRST_PORT, last: int = LAST_PORT) -> int:
    """Return the first port in the range that nobody listens on.

    Raises
    ------
    ConfigurationError
        If all are taken.
    """
    for port in range(first, last):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"no free port between {first} and {last}", remedy="stop what listens there")


def _write_once(path: Path, content: dict[str, str]) -> None:
    if path.exists():
        return
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    temporary.replace(path)
