"""A real Apache Kafka broker for tests: one process in KRaft mode, on the loopback, out of Maven Central.

    python3.11 tests/broker/kafka_broker.py

copies the jars to the folder KAFKA_JARS names (default under ~/.cache) and prints it; needs JDK 17 and Maven.
Only the standard library is used, so that it runs before there is an environment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

POM = Path(__file__).with_name("kafka-pom.xml")
VERSION = re.search(r"<version>([0-9.]{5,})</version>", POM.read_text())[1]
CLUSTER = "zsdsTestClusterAAAAAAA"  # 22 characters of base 64, as Kafka wants them
JAVA = ("java", "-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
PATIENCE_S = 60.0
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.quorum.voters": "1@localhost:9093",
    "listeners": "PLAINTEXT://:9092,CONTROLLER://localhost:9093",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
}
"""Of server.properties, with the ports that a deployment has; each broker gets ports of its own for them."""


def jars_folder() -> Path:
    return Path(os.environ.get("KAFKA_JARS") or Path.home() / ".cache" / "zsds" / f"kafka-{VERSION}")


def why_not() -> str:
    """Say what is missing for a broker; empty if nothing is."""
    if shutil.which("java") is None:
        return "no Java on this machine: install a JDK 17 for tests against a real Kafka"
    if not list(jars_folder().glob("kafka_*.jar")):
        return f"no jars of Kafka in {jars_folder()}: run python3.11 tests/broker/kafka_broker.py"
    return ""


def fetch() -> Path:
    """Copy Kafka and what it needs out of Maven Central, once."""
    folder = jars_folder()
    if not list(folder.glob("kafka_*.jar")):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            shutil.copy(POM, Path(work) / "pom.xml")
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={work}/jars"],
                cwd=work, check=True, stdout=sys.stderr,
            )  # fmt: skip
            shutil.rmtree(folder, ignore_errors=True)
            (Path(work) / "jars").rename(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class KafkaBroker:
    """One broker with its data in a folder; it may be killed and started again on the same port.

    `deployed`: settings in place of `SETTINGS`; ports and the folder of the data are this broker's all the
    same.
    """

    def __init__(self, folder: Path, deployed: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port, controller = free_port(), free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None
        self._properties = folder / "server.properties"
        here = {"kafka:9092": self.servers, "://:9092": f"://{self.servers}"}
        here |= {"localhost:9093": f"127.0.0.1:{controller}"}
        settings = {**(deployed or SETTINGS), "log.dirs": str(folder / "data")}
        for place, instead in here.items():
            settings = {name: str(value).replace(place, instead) for name, value in settings.items()}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties))

    def _command(self, *words: str) -> list[str]:
        return [*JAVA, "-cp", f"{jars_folder()}/*", *words]

    def _run(self, *words: str) -> None:
        done = subprocess.run(self._command(*words), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stdout}{done.stderr}")

    def start(self) -> KafkaBroker:
        """Start it and wait until it listens."""
        log = self.folder / "broker.log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", str(self._properties)), stdout=stream, stderr=stream,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return self
        self.kill()
        raise RuntimeError(f"Kafka did not start: {log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end; insist after a while."""
        self._end(signal.SIGTERM)

    def _end(self, sign: int) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(sign)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.stdout.write(f"{fetch()}\n")
