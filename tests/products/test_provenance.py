import re

from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.quality.raw import QuickLookConfig


def test_equal_makings_have_equal_versions():
    version = processing_version("raw_quality", QuickLookConfig(), ["b", "a"])
    assert re.fullmatch("[0-9a-f]{12}", version)
    assert version == processing_version("raw_quality", QuickLookConfig(), ["a", "b"])


def test_any_difference_makes_another_version():
    versions = {
        processing_version("raw_quality", QuickLookConfig()),
        processing_version("science", QuickLookConfig()),
        processing_version("raw_quality", QuickLookConfig(bright_sigma=4.0)),
        processing_version("raw_quality", QuickLookConfig(), ["ab", "c"]),
        processing_version("raw_quality", QuickLookConfig(), ["a", "bc"]),
    }
    assert len(versions) == 5
