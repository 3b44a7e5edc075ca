"""Columns of psfcat and sexcat: declared names, types and units, and what is refused."""

import numpy as np
import pytest

from zsds_tasks.pixels.fits_tables import decode_table, encode_table
from zsds_tasks.products.fits_tables import APERTURE_CATALOG, PSF_CATALOG, catalog_columns


@pytest.mark.parametrize("rows", [0, 1, 137])
@pytest.mark.parametrize("declared", [PSF_CATALOG, APERTURE_CATALOG])
def test_a_catalogue_is_written_in_declared_order_and_types(declared, rows):
    rng = np.random.default_rng(3)
    values = {
        column.name: rng.integers(-1, 100, (rows, column.width) if column.width > 1 else rows).astype(float)
        for column in reversed(declared)
    }
    content = encode_table(catalog_columns(declared, values), [], name="CAT")
    found = decode_table(content, subject="x")
    assert list(found) == [column.name for column in declared]
    for column in declared:
        assert found[column.name].dtype == np.dtype(column.dtype)
        np.testing.assert_array_equal(found[column.name], values[column.name])


def test_ztfs_columns_are_there():
    names = [column.name for column in PSF_CATALOG]
    assert names[:5] == ["sourceid", "xpos", "ypos", "ra", "dec"]
    assert names[5:] == ["flux", "sigflux", "mag", "sigmag", "snr", "chi", "sharp", "flags"]
    columns = catalog_columns(PSF_CATALOG, {"ra": np.zeros(2), "mag": np.zeros(2)})
    assert [unit for _, unit, _ in columns.values()] == ["deg", "mag"]
    with_mask = catalog_columns(PSF_CATALOG, {"flags": np.array([-1, 65535])})
    assert with_mask["flags"][0].tolist() == [-1, 65535]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"RA": np.zeros(2), "flux": np.zeros(2)}, "undeclared columns: RA"),
        ({"ra": np.zeros((2, 2))}, r"ra has \(2,\) values per row, not 1"),
        ({"flags": np.array([0.5])}, "flags has values that int32 does not hold"),
        ({"sourceid": np.array([2**40])}, "sourceid has values that int32 does not hold"),
    ],
)
def test_what_is_not_declared_is_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        catalog_columns(PSF_CATALOG, values)
