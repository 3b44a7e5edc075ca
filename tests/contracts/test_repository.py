"""House rules that a linter does not know."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest
import yaml

from zsds_tasks.settings import REPOSITORY

MAX_FILE, MAX_FUNCTION = 300, 50
TEXT = (".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".json", ".html", ".css", "Makefile", "run")


def tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.splitlines() if (REPOSITORY / name).is_file()]


def test_the_fixed_top_level_is_there():
    for name in ("dags", "plugins", "zsds_tasks", "include", "tests"):
        assert (REPOSITORY / name).is_dir()
    for name in ("docker-compose.yaml", "requirements.txt", "pyproject.toml", "Makefile", "README.md"):
        assert (REPOSITORY / name).is_file()


def test_no_path_of_a_machine_and_no_package_host_is_committed():
    forbidden = re.compile(r"/(?:work|root|home/\w+)/\w|pypi\.org|files\.pythonhosted|/opt/wheels")
    allowed = "tests/contracts/test_repository.py"
    for name in tracked():
        if name != allowed and name.endswith(TEXT):
            found = forbidden.search((REPOSITORY / name).read_text(encoding="utf-8"))
            assert found is None, f"{name}: {found.group()}"


def test_files_and_functions_keep_to_one_page():
    for name in tracked():
        if not name.endswith(".py") or name.startswith("tests/"):
            continue
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert text.count("\n") <= MAX_FILE, f"{name} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                documented = ast.get_docstring(node) is not None and len(node.body) > 1
                start = node.body[1].lineno if documented else first.lineno
                size = (node.end_lineno or start) - start + 1
                assert size <= MAX_FUNCTION, f"{name}: {node.name} has {size} lines of code"


def test_no_committed_file_is_large():
    for name in tracked():
        size = (REPOSITORY / name).stat().st_size
        assert size <= 1_500_000, f"{name} has {size} bytes"


def test_docker_compose_is_whole():
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())
    services = compose["services"]
    for part in ("api", "scheduler", "dag-processor", "triggerer", "worker", "init"):
        assert f"airflow-{part}" in services
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services, f"{name} depends on {needed}"
    environment = services["airflow-api"]["environment"]
    for name, value in environment.items():
        if "SECRET" in name or "TOKEN" in name or "FERNET" in name:
            assert str(value).startswith("${"), f"{name} must come from the environment"


def test_no_secret_default_in_docker_compose():
    text = (REPOSITORY / "docker-compose.yaml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET"):
        assert re.search(rf"\$\{{{name}:\?", text), f"{name} must be required, without default"


def test_no_secret_is_in_a_process_list_of_docker_compose():
    services = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]
    for name, service in services.items():
        words = [*service.get("command", []), *service.get("healthcheck", {}).get("test", [])]
        # Compose puts ${...} into arguments; $$NAME is left to the shell inside.
        assert not [word for word in words if re.search(r"(?<!\$)\$[{A-Z]", word)], name


def test_who_asks_ray_for_work_in_docker_compose_is_a_node_of_its_cluster():
    worker = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]["airflow-worker"]
    address = worker["environment"]["ZSDS_RAY_ADDRESS"]
    assert f"ray start --address={address} " in " ".join(worker["command"])
