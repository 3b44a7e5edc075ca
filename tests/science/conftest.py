"""Frames of the tiny camera and the rules they are held against."""

import pytest
from builders import FrameBuilder, tiny_include, tiny_rules


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return tiny_include(tmp_path_factory.mktemp("science"))


@pytest.fixture(scope="session")
def rules(tiny):
    return tiny_rules(tiny)


@pytest.fixture(scope="session")
def frames(tiny):
    return FrameBuilder.of("tiny", tiny)


@pytest.fixture(scope="session")
def unsummed(frames):
    return frames.build(checksum=False)
