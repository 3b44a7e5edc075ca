"""What every test may ask for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

from zsds_tasks.settings import REPOSITORY, Settings, load_settings

# How long an example takes is the machine's affair, which runs a night beside it; benchmarks measure speed.
hypothesis.settings.register_profile("zsds", deadline=None)
hypothesis.settings.load_profile("zsds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the night first: it takes longest, and other workers do the rest meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("night") is None)


def pytest_collection_finish() -> None:
    """Load the kernels of what the tests import: no test, and no timeout of one, meets a first call."""
    kernels = sys.modules.get("zsds_tasks.pixels.kernels")
    names = [name for name in sys.modules if name.startswith("zsds_tasks.")] if kernels else []
    for name in names:
        for value in list(vars(sys.modules[name]).values()):
            if isinstance(value, kernels.Kernel):
                value.load()


@pytest.fixture(scope="session")
def include() -> Path:
    return REPOSITORY / "include"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real ZTF data; `.ci/run` names it in ZSDS_DATA."""
    folder = os.environ.get("ZSDS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real data: set ZSDS_DATA to the folder that holds it")
    return Path(folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation of its own in an empty folder, one worker, no environment."""
    return Settings(var=tmp_path / "var", workers=1)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own installation out of tests: no ZSDS_ variable reaches them but the data's."""
    for name in list(os.environ):
        if name.startswith("ZSDS_") and name != "ZSDS_DATA":
            monkeypatch.delenv(name)
    load_settings.cache_clear()
