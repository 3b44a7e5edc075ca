from __future__ import annotations

import importlib.metadata
import re
import tomllib

from packaging.requirements import Requirement

from zsds_tasks.settings import REPOSITORY


def locked() -> dict[str, str]:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^\s=]+", line) for line in lines), "one exact pin a line"
    return dict(line.split("==") for line in lines)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def direct() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [text for group in project["optional-dependencies"].values() for text in group]
    found = [Requirement(text) for text in (*project["dependencies"], *extras)]
    return [requirement for requirement in found if requirement.name != project["name"]]


def test_every_direct_dependency_is_locked_within_its_bounds():
    pins = locked()
    for requirement in direct():
        assert requirement.name in pins, f"{requirement.name}: run `make lock`"
        assert requirement.specifier.contains(pins[requirement.name], prereleases=True), requirement


def test_the_lock_is_closed_under_dependencies():
    """Installed with --no-deps, so a package the lock forgets would be missing at run time."""
    pins = locked()
    for name in pins:
        for text in importlib.metadata.requires(name) or ():
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            assert canonical(need.name) in {canonical(pin) for pin in pins}, f"{name} needs {need.name}"


def test_what_the_user_fixed_is_there():
    names = {requirement.name for requirement in direct()}
    fixed = {
        "apache-airflow", "astropy", "numpy", "ray", "lsdb", "hats", "pyarrow", "deltalake",
        "great-expectations", "fastavro",
    }  # fmt: skip
    assert fixed <= names
