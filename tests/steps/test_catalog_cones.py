"""Cones of the reference catalogues are the same whether they were read anew or cut out of the one before."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.settings import Settings
from zsds_tasks.steps.exposure import catalogs

CENTRE = (150.0, 2.0)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    rng, n = np.random.default_rng(3), 3000
    places = {"objid": np.arange(n), "ra": rng.uniform(149, 151, n), "dec": rng.uniform(1, 3, n)}
    others = {name: rng.uniform(15, 20, n) for name in catalogs.PS1_COLUMNS if name not in places}
    made = Settings(var=tmp_path_factory.mktemp("cones"))
    uri = f"{made.catalogs_uri}/{catalogs.PS1}"
    write_catalog(catalogs.PS1, pa.table(places | others), uri, created=datetime(2026, 1, 1, tzinfo=UTC))
    return made


@pytest.mark.parametrize("radius", [0.5, 0.51, 0.4, 0.7])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.3])
def test_a_cone_is_that_of_the_catalogue(settings, shift, radius):
    catalogs.photometric_stars(settings, CENTRE, 0.5)
    centre = (CENTRE[0] + shift, CENTRE[1])
    found = catalogs.photometric_stars(settings, centre, radius)
    whole = HatsReader(f"{settings.catalogs_uri}/{catalogs.PS1}")
    expected = whole.read(catalogs.PS1_COLUMNS, cone=(*centre, radius * 3600))
    assert found.num_rows > 100
    assert found.equals(expected)


def test_what_is_inside_is_not_read_again(settings, monkeypatch):
    catalogs.photometric_stars(settings, CENTRE, 0.5)
    monkeypatch.setattr(HatsReader, "read", lambda *_, **__: pytest.fail("read again"))
    assert (
        catalogs.photometric_stars(settings, CENTRE, 0.5 + 0.9 * catalogs.SPARE_ARCSEC / 3600).num_rows > 100
    )
    with pytest.raises(pytest.fail.Exception):
        catalogs.photometric_stars(settings, CENTRE, 0.6)
