"""The hot path as a step: every channel ends with a row, once; what was planted comes out."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from science_builder import NOW, copy_of, template
from scipy.spatial import cKDTree

from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.lakehouse.hats_reader import HatsReader
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.steps import exposure
from zsds_tasks.steps.exposure import catalogs, process_exposures, run
from zsds_tasks.survey.filenames import ScienceSuffix

TABLES = ("science_images", "image_quality", "sources")


@pytest.fixture(scope="session")
def taken_in(tmp_path_factory):
    return template(tmp_path_factory.mktemp("observatory"))


@pytest.fixture(scope="session")
def processed(taken_in, tmp_path_factory):
    """One exposure calibrated, as every test may read it."""
    place = copy_of(taken_in, tmp_path_factory.mktemp("processed"))
    catalogs._reader.cache_clear()
    first = place.expids[0]
    process(place, expids=[first])
    return place


@pytest.fixture
def place(processed, tmp_path):
    catalogs._reader.cache_clear()
    return copy_of(processed, tmp_path)


def process(place, **options):
    return process_exposures(place.lakehouse, place.settings, NOW, **options)


def state(place):
    """Return rows as text, for NaN is not equal to itself; without what a clock decides."""
    return {
        name: str([row | {"core_seconds": None} for row in place.lakehouse.table(name).read().to_pylist()])
        for name in TABLES
    }


def file_of(place, row, suffix):
    path = row["path"].replace(ScienceSuffix.IMAGE.value, suffix.value)
    return fits.open(io.BytesIO(place.lakehouse.storage.read_bytes(path)))


def images(place):
    return place.lakehouse.table("science_images").read().to_pylist()


def test_every_channel_of_the_exposure_is_calibrated(processed):
    rows = images(processed)
    assert [row["rcid"] for row in rows] == list(range(8))
    assert {row["stage"] for row in rows} == {"done"}
    assert {row["status"] for row in rows} == {1}
    quality = processed.lakehouse.table("image_quality").read().to_pylist()
    assert [row["rcid"] for row in quality] == list(range(8))
    assert all(row["n_sources"] > 100 and row["rms_bright"] < 0.03 for row in quality)


def test_a_second_run_finds_nothing_to_do_and_changes_nothing(place):
    before, versions = state(place), [place.lakehouse.table(n).version() for n in TABLES]
    summary = process(place, expids=place.expids[:1])
    assert (summary.quadrants, summary.reason) == (0, "every ready exposure is processed")
    assert state(place) == before
    assert [place.lakehouse.table(n).version() for n in TABLES] == versions


@pytest.mark.parametrize("table", ["sources", "image_quality"])
def test_killed_between_its_commits_the_exposure_is_done_again_to_the_same_rows(place, table, monkeypatch):
    before = state(place)
    where = {"rcid": [2, 5]}
    place.lakehouse.table("science_images").delete(where)  # the state a kill leaves: images come last
    if table == "sources":
        place.lakehouse.table("image_quality").delete(where)
    assert process(place, expids=place.expids[:1]).quadrants == 2
    assert state(place) == before


def test_the_work_list_forgets_a_channel_whose_master_has_changed(place):
    masters = place.lakehouse.table("master_frames")
    row = next(r for r in masters.read().to_pylist() if r["rcid"] == 3 and r["kind"] == "bias")
    path = row["path"]
    data = place.lakehouse.storage.read_bytes(path)
    place.lakehouse.storage.put_bytes_atomically(data + b"\0" * 2880, path)
    import hashlib

    masters.merge([row | {"sha256": hashlib.sha256(data + b"\0" * 2880).hexdigest()}])
    work = exposure.work_list(
        place.lakehouse, place.settings, exposure.load_exposure_config(place.settings.include), NOW,
        expids=place.expids[:1],
    )  # fmt: skip
    assert [quadrant.quadrant["rcid"] for quadrant in work[0].quadrants] == [3]


def test_a_channel_that_fails_says_where_and_why_while_the_others_land(taken_in, tmp_path):
    place = copy_of(taken_in, tmp_path)
    catalogs._reader.cache_clear()
    second = place.expids[1]
    raws = place.lakehouse.table("raw_quadrants").read(where={"expid": second}).to_pylist()
    root = place.settings.var / "zsds"
    masters = place.lakehouse.table("master_frames")
    masters.delete({"rcid": 0, "kind": "bias"})
    of_second_ccd = next(row for row in raws if row["ccdid"] == 2)
    file = root / of_second_ccd["path"]
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    summary = process(place, expids=[second])
    rows = {row["rcid"]: row for row in images(place)}
    assert len(summary.failed) == 5
    assert (rows[0]["status"], rows[0]["stage"]) == (0, "input")
    assert "no accepted bias within 7 days" in rows[0]["reason"]
    assert all(rows[n]["status"] == 1 for n in (1, 2, 3))
    for n in (4, 5, 6, 7):
        assert "has changed since it was archived" in rows[n]["reason"]
        assert rows[n]["path"] is None
    assert not place.lakehouse.table("sources").read(where={"rcid": [0, 4, 5, 6, 7]}).num_rows
    assert process(place, expids=[second]).quadrants == 0  # the same input fails the same way


def test_no_stars_where_the_image_looks_is_a_reason_and_no_catalogue_an_error(taken_in, tmp_path):
    place = copy_of(taken_in, tmp_path)
    catalogs._reader.cache_clear()
    gaia = f"{place.settings.catalogs_uri}/gaia"
    table = HatsReader(gaia).read()
    moved = table.set_column(table.schema.get_field_index("dec"), "dec", [table["dec"].to_numpy() - 30.0])
    write_catalog("gaia", moved, gaia, created=NOW)
    catalogs._reader.cache_clear()
    process(place, expids=place.expids[:1])
    for row in images(place):
        assert (row["status"], row["stage"]) == (0, "astrometry")
        assert "no catalogue star within" in row["reason"]
        assert row["seeing"] > 1.0  # what was measured until then is kept
    shutil.rmtree(gaia)
    catalogs._reader.cache_clear()
    with pytest.raises((ConfigurationError, TransientError), match="gaia"):
        process(place, expids=place.expids[1:])


def test_products_open_with_astropy_and_agree_with_the_rows(processed):
    row = images(processed)[2]
    with (
        file_of(processed, row, ScienceSuffix.IMAGE) as image,
        file_of(processed, row, ScienceSuffix.MASK) as mask,
    ):
        header, pixels, bits = image[1].header, image[1].data, mask[1].data
        assert pixels.shape == bits.shape == (770, 768)
        assert header["MAGZP"] == pytest.approx(row["magzp"], abs=1e-5)
        assert header["MAGLIM"] == pytest.approx(row["maglimit"], abs=1e-5)
        assert (header["STATUS"], header["PROCVERS"]) == (1, row["processing_version"])
        assert np.nanmedian(pixels) > 50  # with its sky
        ra, dec = WCS(header).all_pix2world([1, 768], [1, 770], 1)
        assert np.allclose(ra, [row["ra1"], row["ra3"]], atol=1e-9)
        assert np.allclose(dec, [row["dec1"], row["dec3"]], atol=1e-9)
        assert (bits & MaskBit.DETECTION.flag).any()
        sources = processed.lakehouse.table("sources").read(where={"rcid": 2}).to_pandas()
        on_source = bits[np.rint(sources.ypos).astype(int) - 1, np.rint(sources.xpos).astype(int) - 1]
        assert np.all(on_source & MaskBit.PSF_SOURCE.flag)
    with file_of(processed, row, ScienceSuffix.UNCERTAINTY) as unc:
        good = (bits & UNUSABLE) == 0
        assert np.isnan(unc[1].data[~good]).all()
        assert 0.5 < np.nanmedian(unc[1].data) / np.nanstd(pixels[good & (bits == 0)]) < 1.5
    with (
        file_of(processed, row, ScienceSuffix.PSF_CATALOG) as psf,
        file_of(processed, row, ScienceSuffix.APERTURE_CATALOG) as sex,
    ):
        assert len(psf[1].data) == len(sources)
        assert np.allclose(psf[1].data["ra"], sources.ra)
        assert np.allclose(
            psf[1].data["mag"] + header["MAGZP"] + sources.zpcorr, sources.mag, atol=1e-3, equal_nan=True
        )
        assert len(sex[1].data) > 0.5 * len(sources)
    assert {digest.split()[1] for digest in row["products"]} == {
        s.value for s in (ScienceSuffix.IMAGE, ScienceSuffix.MASK, ScienceSuffix.UNCERTAINTY,
                          ScienceSuffix.PSF_CATALOG, ScienceSuffix.APERTURE_CATALOG,
                          ScienceSuffix.PSF_MODEL, ScienceSuffix.PSF_CENTRE)
    }  # fmt: skip


def matched(place):
    """Return (source, truth) rows of isolated point sources, matched by place."""
    sources = place.lakehouse.table("sources").read().to_pandas()
    truth = place.detections.to_pandas()
    truth = truth[truth.expid == sources.expid.iloc[0]]
    found = []
    for rcid, rows in sources.groupby("rcid"):
        true = truth[(truth.rcid == rcid)]
        tree = cKDTree(np.stack([true.x, true.y], axis=1))
        distance, place_of = tree.query(np.stack([rows.xpos, rows.ypos], axis=1))
        second = tree.query(np.stack([true.x, true.y], axis=1), k=2)[0][:, 1]
        lonely = second[place_of] > 8
        good = (distance < 1.0) & lonely & ((rows["flags"] & UNUSABLE) == 0) & (rows["flags"] >= 0)
        found.append((rows[good].reset_index(), true.iloc[place_of[good.to_numpy()]].reset_index()))
    import pandas as pd

    rows, true = (pd.concat(part, ignore_index=True) for part in zip(*found, strict=True))
    stars = true.kind.isin(["star", "variable"])
    return rows[stars], true[stars]


def test_what_was_planted_comes_out(processed):
    rows, true = matched(processed)
    bright = (rows.snr > 100).to_numpy()
    assert bright.sum() > 100
    off = (
        np.stack([(rows.ra - true.ra) * np.cos(np.radians(true.dec)), rows.dec - true.dec])[:, bright] * 3.6e6
    )
    assert 1.4826 * np.median(np.abs(off), axis=1).max() < 20.0  # mas per axis
    residual = (rows.mag - true.mag)[bright]
    assert abs(np.median(residual)) < 0.03  # colours are not corrected here, and are not zero
    faint = ((rows.snr > 8) & (rows.snr < 30)).to_numpy()
    offset = np.median((rows.flux / true.flux_dn)[bright])
    pull = (rows.flux - offset * true.flux_dn)[faint] / rows.sigflux[faint]
    assert 0.85 < 1.4826 * np.median(np.abs(pull - np.median(pull))) < 1.2


def test_commits_one_version_per_table_and_exposure(place):
    counts = {name: place.lakehouse.table(name).version() for name in TABLES}
    process(place, expids=place.expids[1:])
    assert {n: place.lakehouse.table(n).version() - v for n, v in counts.items()} == dict.fromkeys(TABLES, 1)


def test_residuals_are_drawn_on_demand(processed):
    from zsds_tasks.errors import UnusableInputError
    from zsds_tasks.steps.exposure.residuals import plot_residuals

    picture = plot_residuals(processed.lakehouse, processed.settings, processed.expids[0], 2)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    with pytest.raises(UnusableInputError, match="channel 2: has no sources"):
        plot_residuals(processed.lakehouse, processed.settings, processed.expids[1], 2)


def test_nothing_at_all_to_do(settings):
    from zsds_tasks.lakehouse import open_lakehouse

    summary = run.process_exposures(open_lakehouse(settings), settings, NOW)
    assert (summary.exposures, summary.reason) == (0, "every ready exposure is processed")
