"""One lake for all tests of this folder: two releases, of 45 and of 90 epochs, and live tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from lake_builder import EPOCHS, WHEN, Star, fill, make_stars, write_gaia

from zsds_tasks.catalog import Catalog, open_catalog
from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.release_making import make_release
from zsds_tasks.settings import Settings


@dataclass(frozen=True, eq=False)
class Lake:
    """What was built: `stars` is the truth."""

    settings: Settings
    stars: list[Star]
    gaia: str

    def open(self, release=None) -> Catalog:
        return open_catalog(release, self.settings)

    def of_kind(self, kind: str) -> list[Star]:
        return [star for star in self.stars if star.kind == kind]


@pytest.fixture(scope="session")
def lake(tmp_path_factory) -> Lake:
    settings = Settings(var=tmp_path_factory.mktemp("lake"), workers=1)
    stars = make_stars()
    for number, epochs in EPOCHS.items():
        fill(settings, stars, epochs)
        make_release(open_lakehouse(settings), settings, now=WHEN + timedelta(days=number))
    return Lake(settings, stars, write_gaia(stars, settings))
