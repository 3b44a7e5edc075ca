"""What the night report shows of calibrated images: right numbers, every failure, nights of little."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from night_builder import NIGHT, Plan, make_night
from science_rows import Shot, image_rows, source_table, star_field, write_products

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.publish import publish
from zsds_tasks.products.infobits import InfoBit
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.products.science_files import product_path
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.steps.report import build_report, gather
from zsds_tasks.steps.report.science import science_pages
from zsds_tasks.steps.report.science_colours import colour_magnitude, nearest_pairs
from zsds_tasks.steps.report.science_curves import curves_section
from zsds_tasks.steps.report.science_data import cell_medians, gather_science, nan_median
from zsds_tasks.steps.report.science_focal_plane import mosaics
from zsds_tasks.steps.report.science_picture import LAYERS, _read_masks, calibrated_picture
from zsds_tasks.steps.report.science_plot import DIVERGING, SHADES, shade
from zsds_tasks.steps.report.science_residuals import (
    astrometric_map,
    photometric_maps,
    photometric_png,
)
from zsds_tasks.steps.report.science_trends import zero_points
from zsds_tasks.survey.camera import load_camera

NOW = dt.datetime(2018, 10, 13, 15, tzinfo=dt.UTC)
FAILED = (1, 5)
"""Exposure of the night, rcid."""
REASON = "12 matches: <20> are too few"
CLOUDY = 6
ANCHORS = ["science", "quadrants", "air", "residuals", "colours", "verdicts"]


def science_night(settings, *, camera="mini", science=9, sources=True, products=True):
    """Write a night with clouds of 0.3 mag from exposure `CLOUDY` on and one failed quadrant."""
    lakehouse = open_lakehouse(settings)
    plan = Plan(bias=1, flats=0, science=science, engineering=0, quarantined=0, missing_ccd=False)
    night = make_night(settings, plan)
    night.write(lakehouse)
    rows = {"science_images": [], "image_quality": []}
    found = []
    shots = [
        Shot.of_row(row, clouds=0.3 * (n >= CLOUDY))
        for n, row in enumerate(r for r in night.tables["raw_exposures"] if r["is_science"])
    ]
    for n, shot in enumerate(shots):
        for quadrant in night.camera.quadrants:
            rng = np.random.default_rng([n, quadrant.rcid])
            failed = REASON if (n, quadrant.rcid) == FAILED else ""
            bits = InfoBit.BAD_PHOTOMETRY.flag if n >= CLOUDY else 0
            same = dataclasses.replace(shot, field=3, ra=shots[0].ra, dec=shots[0].dec)
            image, quality = image_rows(night.camera, same, quadrant, rng, failed=failed, infobits=bits)
            truth = star_field(night.camera, same, quadrant, 150)
            if sources and not failed:
                found.append(source_table(truth, same, quadrant, image, rng))
            if products and n == science // 2 and not failed:
                masks = [(MaskBit.HALO, slice(0, 77), slice(0, 768))] if quadrant.rcid == 0 else []
                write_products(lakehouse, night.camera, image, truth, rng, masks)
            else:
                image["products"] = []
            rows["science_images"].append(image)
            rows["image_quality"].append(quality)
    for name, table in rows.items():
        lakehouse.table(name).merge(table)
    if found:
        lakehouse.table("sources").merge(pa.concat_tables(found))
    return lakehouse, rows


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    settings = Settings(var=tmp_path_factory.mktemp("science"), camera="mini", workers=1)
    return settings, *science_night(settings)


@pytest.fixture(scope="module")
def facts(night):
    _, lakehouse, _ = night
    return gather_science(lakehouse, gather(lakehouse, NIGHT))


@pytest.fixture(scope="module")
def html(night):
    settings, lakehouse, _ = night
    return lakehouse.storage.read_bytes(build_report(lakehouse, settings, NIGHT, now=NOW)).decode()


def test_every_section_is_there_in_order_and_its_pictures_beside_it(night, html):
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert [a for a in anchors if a in ANCHORS] == ANCHORS
    assert "http://" not in html
    assert "https://" not in html
    for name in ("calibrated", "masked", "photometry", "colour-magnitude"):
        assert night[1].storage.read_bytes(f"reports/{NIGHT}/{name}.png").startswith(b"\x89PNG")
    assert re.search(r"science_images v\d", html)


def test_the_numbers_are_those_of_the_rows(html):
    assert "71</b>" in html
    assert "1 failed" in html
    assert "1 quadrant failed: 1 in astrometry." in html
    assert "12 matches: &lt;20&gt; are too few" in html
    assert "<20>" not in html
    assert "bad photometric quality" in html
    # Three of nine exposures, eight channels each, of 71 images.
    assert "33.8%" in html
    assert "47 of 71 usable images are without any condition." in html


def test_the_same_rows_give_the_same_page(night, html):
    settings, lakehouse, _ = night
    path = build_report(lakehouse, settings, NIGHT, now=NOW)
    assert lakehouse.storage.read_bytes(path).decode() == html


def test_clouds_show_as_depth_below_the_night(facts):
    trend = zero_points(facts)
    drops = [float(d) for d in re.findall(r"exposure \d+: ([+-][\d.]+) mag", trend.drawing)]
    assert len(drops) == 9
    assert np.median(drops[CLOUDY:]) == pytest.approx(np.median(drops[:CLOUDY]) - 0.3, abs=0.03)


def test_a_channel_that_failed_under_clouds_is_not_better(facts):
    images = facts.images
    late = images["expid"] >= images["expid"].unique()[CLOUDY]
    fewer = dataclasses.replace(facts, images=images[~(late & (images["rcid"] == 2))])
    for filter_ in facts.filters:
        whole, some = (f.of_channels("zp30", filter_.fid) for f in (facts, fewer))
        assert some[2] - some.median() == pytest.approx(whole[2] - whole.median(), abs=0.02)


def test_mosaics_name_every_quadrant_of_every_filter(facts):
    drawing = mosaics(facts)
    assert drawing.count("<title>") == 3 * 5 * 8
    assert drawing.count("no usable image") == 0
    ccd, qid = divmod(FAILED[1], 4)
    gone = facts.images[facts.images["rcid"] != FAILED[1]]
    assert mosaics(dataclasses.replace(facts, images=gone)).count("no usable image") == 15
    assert f"{ccd + 1}·q{qid + 1}: no usable image" in mosaics(dataclasses.replace(facts, images=gone))


def test_arrows_point_where_sources_are_off(facts):
    east = np.full((4, 4, 2), np.nan, np.float32)
    east[1, 2] = 0.05, 0.0
    rows = facts.images.head(1).assign(rcid=0, status=1, astrometry_cells=[east.ravel()])
    drawing, caption = astrometric_map(dataclasses.replace(facts, images=rows))
    assert "+50, +0 mas" in drawing
    x1, y1, x2, y2 = (
        float(n)
        for n in re.search(
            r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" stroke="#', drawing
        ).groups()
    )
    assert x2 < x1  # east is left
    assert y1 == y2
    assert "below 50 mas" in caption
    camera = facts.night.camera
    place = camera.focal_plane(0, 2.5 * camera.quadrant.nx / 4 + 0.5, 1.5 * camera.quadrant.ny / 4 + 0.5)
    half = camera.half_size_arcsec[0]
    # The drawing spans the field from left to right with margins of 20.
    assert x1 == pytest.approx(20 + (half - place[0]) / (2 * half) * 1080, abs=0.1)


def test_a_photometric_cell_lies_where_it_was_measured(facts):
    cells = np.full((4, 4), np.nan, np.float32)
    cells[0, 3] = 0.007
    rows = facts.images.head(1).assign(rcid=6, fid=2, status=1, zp_cells=[cells.ravel()])
    maps = photometric_maps(dataclasses.replace(facts, images=rows))
    assert list(maps) == ["r"]
    there = np.argwhere(np.isfinite(maps["r"]))
    assert maps["r"][tuple(there[0])] == pytest.approx(7, rel=1e-5)
    camera = facts.night.camera
    east, north = camera.focal_plane(6, 3.5 * camera.quadrant.nx / 4, 0.5 * camera.quadrant.ny / 4)
    half_width, half_height = camera.half_size_arcsec
    ny, nx = maps["r"].shape
    row, column = there.mean(axis=0)
    assert column == pytest.approx((half_width - east) / (2 * half_width) * nx, abs=2)
    assert row == pytest.approx((half_height - north) / (2 * half_height) * ny, abs=2)
    assert photometric_png(maps).startswith(b"\x89PNG")


def test_the_picture_is_of_the_exposure_with_products(night, facts):
    _, lakehouse, rows = night
    shown = calibrated_picture(lakehouse, facts)
    assert shown.image.startswith(b"\x89PNG")
    assert shown.mask.startswith(b"\x89PNG")
    # The halo covers 77 of 770 rows of one quadrant of eight.
    assert "halos 1.250%" in shown.masked
    expid = rows["science_images"][4 * 8]["expid"]
    assert f"Exposure {expid}: " in shown.caption


def test_masks_lie_where_their_pixels_are(night, facts):
    _, lakehouse, rows = night
    expid = rows["science_images"][4 * 8]["expid"]
    images = facts.good[facts.good["expid"] == expid]
    layers, _ = _read_masks(lakehouse, facts, images, 3)
    number = 1 + [name for name, _, _ in LAYERS].index("halos")
    there = np.argwhere(layers == number)
    camera = facts.night.camera
    east, north = camera.focal_plane(0, camera.quadrant.nx / 2, 38.0)
    half_width, half_height = camera.half_size_arcsec
    row, column = there.mean(axis=0)
    assert column == pytest.approx((half_width - east) / (2 * half_width) * layers.shape[1], abs=3)
    assert row == pytest.approx((half_height - north) / (2 * half_height) * layers.shape[0], abs=3)


def test_lost_and_spoilt_products_are_named(tmp_path):
    settings = Settings(var=tmp_path, camera="mini", workers=1)
    lakehouse, rows = science_night(settings, science=2, sources=False)
    written = [row for row in rows["science_images"] if row["products"]]
    lakehouse.storage.delete(product_path(written[3], "sciimg"))
    lakehouse.storage.put_bytes_atomically(b"SIMPLE  =", product_path(written[4], "sciimg"))
    facts = gather_science(lakehouse, gather(lakehouse, NIGHT))
    shown = calibrated_picture(lakehouse, facts)
    assert "Gone or spoilt: 1·q4, 2·q1." in shown.caption
    assert "Failed: 2·q2." in shown.caption
    for row in written:
        for suffix in ("sciimg", "mskimg"):
            lakehouse.storage.put_bytes_atomically(b"", product_path(row, suffix))
    shown = calibrated_picture(lakehouse, facts)
    assert (shown.image, shown.mask) == (None, None)
    assert "cannot be shown" in shown.caption


def test_a_night_without_rows_has_no_section(tmp_path):
    settings = Settings(var=tmp_path, camera="mini", workers=1)
    lakehouse = open_lakehouse(settings)
    make_night(settings, Plan(science=2)).write(lakehouse)
    assert science_pages(lakehouse, gather(lakehouse, NIGHT)).html == ""


def test_a_night_where_every_quadrant_failed(tmp_path):
    settings = Settings(var=tmp_path, camera="mini", workers=1)
    lakehouse, rows = science_night(settings, science=2, sources=False, products=False)
    camera = load_camera("mini", settings.include)
    dead = []
    for n, image in enumerate(rows["science_images"]):
        shot = Shot.of_row(image | {"airmass": 1.2})
        quadrant = camera.quadrants[n % 8]
        dead.append(image_rows(camera, shot, quadrant, np.random.default_rng(n), failed="dark"))
    for table, made in zip(("science_images", "image_quality"), zip(*dead, strict=True), strict=True):
        lakehouse.table(table).merge(made)
    pages = science_pages(lakehouse, gather(lakehouse, NIGHT))
    assert re.findall(r'<section id="([^"]+)"', pages.html) == ["science", "air", "verdicts"]
    assert "No quadrant could be calibrated" in pages.html
    assert "16 quadrants failed: 16 in astrometry." in pages.html
    assert not re.search(r"\bnan\b", pages.html)
    assert pages.files == {}


def test_images_without_quality_rows_or_products(tmp_path):
    settings = Settings(var=tmp_path, camera="mini", workers=1)
    lakehouse, _ = science_night(settings, science=2, sources=False, products=False)
    lakehouse.table("image_quality").delete({"night": NIGHT})
    pages = science_pages(lakehouse, gather(lakehouse, NIGHT))
    assert "No calibrated image was written" in pages.html
    assert 'id="residuals"' not in pages.html
    assert "unknown" in pages.html


def test_a_camera_of_64_quadrants(tmp_path):
    settings = Settings(var=tmp_path, camera="ztf", workers=1)
    lakehouse, _ = science_night(settings, camera="ztf", science=3, sources=False, products=False)
    pages = science_pages(lakehouse, gather(lakehouse, NIGHT))
    quadrants = pages.html[pages.html.index('id="quadrants"') : pages.html.index('id="air"')]
    assert quadrants.count("<title>") == 3 * 5 * 64
    assert pages.html.count(" mas</title>") == 64 * 15  # one cell of sixteen has too few stars
    assert len(pages.html) < 1_500_000


def test_colours_are_those_of_the_calibrators(night, facts):
    _, lakehouse, _ = night
    diagram = colour_magnitude(lakehouse, facts)
    truth = [star_field(facts.night.camera, shot_of(facts), q, 150) for q in facts.night.camera.quadrants]
    true = {name: np.concatenate([t[name] for t in truth]) for name in ("g", "r", "is_star")}
    near = np.abs(diagram.mag[:, None] - true["r"][None]) + np.abs(
        diagram.colour[:, None] - (true["g"] - true["r"])[None]
    )
    bright = diagram.is_point & (diagram.mag < 18.5) & (diagram.mag > 14.5)
    assert bright.sum() > 100
    assert np.median(near[bright][:, true["is_star"]].min(axis=1)) < 0.02


def shot_of(facts):
    row = facts.night.exposures[facts.night.exposures["is_science"]].iloc[1]
    first = facts.night.science.iloc[0]
    return dataclasses.replace(
        Shot.of_row(dict(row)), fid=2, field=3, ra=float(first["ra"]), dec=float(first["dec"])
    )


def test_one_filter_makes_no_colours(facts, night):
    only = facts.images[facts.images["fid"] == 2]
    assert colour_magnitude(night[1], dataclasses.replace(facts, images=only)) is None


@given(st.integers(0, 30), st.integers(0, 10**6))
def test_nearest_pairs_across_the_turn_of_right_ascension(n, seed):
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(-0.5, 0.5, n) % 360, rng.uniform(-80, 80, n)
    one = {"ra": ra, "dec": dec}
    order = rng.permutation(n)
    shift = 0.5 / 3600 / np.cos(np.radians(dec[order]))
    other = {"ra": (ra[order] + shift) % 360, "dec": dec[order]}
    if n == 0:
        return
    mine, theirs = nearest_pairs(one, other, 1.0)
    assert np.array_equal(order[theirs], mine)
    assert len(mine) == n
    assert len(nearest_pairs(one, other, 0.3)[0]) == 0


@given(st.integers(0, 7), st.integers(1, 6), st.integers(0, 10**6))
def test_medians_of_what_is_known_are_numpy_s(rows, columns, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(max(rows, 1), columns)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanmedian(values, axis=0)
    assert np.allclose(nan_median(values), expected, equal_nan=True)


def test_cells_of_another_shape_are_left_out():
    rows = pd.DataFrame({"rcid": [1, 1, 2, 3], "c": [np.ones(16), None, np.ones(9), np.array([])]})
    found = cell_medians(rows, "c", 1)
    assert list(found) == [1]
    assert found[1].shape == (4, 4, 1)


@given(st.floats(-1, 2), st.sampled_from([SHADES, DIVERGING]))
def test_shades_are_colours_between_their_ends(share, stops):
    assert re.fullmatch(r"#[0-9a-f]{6}", shade(share, stops))
    assert shade(0, stops) == stops[0]
    assert shade(1, stops) == stops[-1]
    assert shade(min(max(share, 0), 1), stops) == shade(share, stops)


@pytest.fixture(scope="module")
def lsdb():
    # Its import takes seconds, and warns; so does Dask at work: theirs, not ours.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lsdb

    return lsdb


@pytest.mark.filterwarnings("ignore")
def test_the_lines_of_the_analysts_page_do_what_it_says(lsdb, night, facts, tmp_path, monkeypatch):
    import dask
    import matplotlib as mpl

    _, lakehouse, _ = night
    publish(lakehouse.table("sources"))
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "zsds").symlink_to(lakehouse.storage.uri(""))
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    lines = re.search(
        r"```python\n(.*?)```", (REPOSITORY / "docs/colour-magnitude.md").read_text(), re.DOTALL
    )
    names = {}
    with dask.config.set(scheduler="synchronous"):
        exec(lines.group(1), names)  # noqa: S102 - the page's own lines
    assert (tmp_path / "colour-magnitude.png").read_bytes().startswith(b"\x89PNG")
    colour = names["colour"].to_numpy()
    blue = colour[(colour > 0.1) & (colour < 0.8)]
    assert len(blue) > 300
    assert np.median(blue) == pytest.approx(0.45, abs=0.03)  # as `star_field` invents the turn-off


CURVES = {
    "completeness": {"depth": [-1.0, 0.0, 1.0], "completeness": [1.0, 0.5, None], "purity": [1.0, 0.9, None]},
    "pulls": {
        "snr": [8.0, 20.0, 60.0],
        "flux": [1.0, None, 1.3],
        "position": [1.0, 1.1, 1.2],
        "edges": [-1.0, 0.0, 1.0],
        "flux_share": [0.5, 0.5],
        "position_share": [0.4, 0.6],
    },
    "repeatability": {"mag": [14.0, 15.0], "r": {"mmag": [5.0, 6.0], "expected": [4.0, None]}},
    "flux_bias": {"mag": [14.0, 15.0], "r": [0.1, -0.4]},
    "astrometry": {"snr": [8.0, 20.0], "east": [40.0, 15.0], "north": [38.0, 14.0]},
}


def test_curves_are_drawn_where_given(facts):
    assert curves_section(facts.night, None) == ""
    assert curves_section(facts.night, {"curves": {}}) == ""
    drawn = curves_section(facts.night, {"curves": CURVES})
    assert drawn.count("<svg") == 6
    assert "nan" not in drawn
    assert curves_section(facts.night, {"curves": {"astrometry": CURVES["astrometry"]}}).count("<svg") == 1


def test_curves_of_a_night_without_stars(facts):
    from zsds_tasks.simulator.score_samples import Samples
    from zsds_tasks.simulator.score_verdict import curves_of

    drawn = curves_section(facts.night, {"curves": curves_of(Samples(), {1: "g", 2: "r", 3: "i"})})
    assert "nan" not in drawn


def test_paths_of_products():
    row = {"path": "sci/a_sciimg.fits.fz", "products": ["0a sciimg.fits.fz", "0b mskimg.fits.fz"]}
    assert product_path(row, "mskimg") == "sci/a_mskimg.fits.fz"
    assert product_path(row, "psfcat") is None
    assert product_path(row | {"products": None}, "mskimg") is None
    assert product_path(row | {"path": None}, "mskimg") is None
