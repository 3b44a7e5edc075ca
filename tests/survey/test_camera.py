from __future__ import annotations

import numpy as np
import pytest
import yaml

from zsds_tasks.errors import DeclarationError
from zsds_tasks.survey.camera import Camera, load_camera, rcid_of


@pytest.fixture(scope="module", params=["ztf", "mini"])
def camera(request, include) -> Camera:
    return load_camera(request.param, include)


def test_the_real_camera_has_its_published_size(include):
    ztf = load_camera("ztf", include)
    assert (ztf.n_ccds, ztf.n_quadrants) == (16, 64)
    pixels = ztf.n_quadrants * ztf.quadrant.nx * ztf.quadrant.ny
    assert pixels == pytest.approx(605.6e6, rel=1e-3)
    width, height = (2 * half / 3600 for half in ztf.half_size_arcsec)
    assert (width, height) == (pytest.approx(7.29, abs=0.02), pytest.approx(7.46, abs=0.03))


def test_channels_are_numbered_by_the_rule(camera):
    assert [q.rcid for q in camera.quadrants] == [
        rcid_of(ccdid, qid) for ccdid in camera.ccdids for qid in (1, 2, 3, 4)
    ]


def test_ccds_run_westward_and_rows_northward(include):
    ztf = load_camera("ztf", include)
    east = [ztf.quadrants_of(c)[0].centre_east_arcsec for c in (1, 2, 3, 4)]
    north = [ztf.quadrants_of(c)[0].centre_north_arcsec for c in (1, 5, 9, 13)]
    assert east == sorted(east, reverse=True)
    assert north == sorted(north)


def test_quadrants_lie_ne_nw_sw_se(camera):
    q1, q2, q3, q4 = camera.quadrants_of(1)
    assert q1.centre_east_arcsec == q4.centre_east_arcsec > q2.centre_east_arcsec == q3.centre_east_arcsec
    assert q1.centre_north_arcsec == q2.centre_north_arcsec > q3.centre_north_arcsec == q4.centre_north_arcsec


def test_x_points_west_and_y_south(camera):
    east0, north0 = camera.focal_plane(0, 1.0, 1.0)
    east1, north1 = camera.focal_plane(0, 2.0, 2.0)
    assert east1 < east0
    assert north1 < north0


def test_pixel_and_focal_plane_are_inverse(camera):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-50, camera.quadrant.nx + 50, 100), rng.uniform(-50, camera.quadrant.ny + 50, 100)
    for rcid in (0, camera.n_quadrants - 1):
        back = camera.pixel(rcid, *camera.focal_plane(rcid, x, y))
        np.testing.assert_allclose(back, (x, y), atol=1e-8)


def test_quadrants_of_a_ccd_touch_and_ccds_do_not_overlap(camera):
    q, scale = camera.quadrant, camera.mosaic.pixel_scale_arcsec
    q1, q2, *_ = camera.quadrants_of(1)
    assert q1.centre_east_arcsec - q2.centre_east_arcsec == pytest.approx(q.nx * scale)
    if camera.mosaic.columns > 1:
        gap = (
            camera.quadrants_of(1)[1].centre_east_arcsec
            - camera.quadrants_of(2)[0].centre_east_arcsec
            - q.nx * scale
        )
        assert gap == pytest.approx(camera.mosaic.column_gap_arcsec)


def test_channels_override_the_common_detector(include):
    mini = load_camera("mini", include)
    assert mini.quadrants[1].detector.saturation == 57000.0
    assert mini.quadrants[0].detector.saturation == mini.detector.saturation


def changed(include, change):
    content = yaml.safe_load((include / "config" / "cameras" / "mini.yaml").read_text())
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        (lambda c: c["quadrant"].update(nx=0), "quadrant.nx", "greater than or equal to 1"),
        (lambda c: c.update(colour="red"), "colour", "Extra inputs are not permitted"),
        (lambda c: c.pop("site"), "site", "Field required"),
        (lambda c: c["detector"].update(gain="much"), "detector.gain", "valid number"),
        (lambda c: c["amplifiers"].pop(), "whole file", "qid 1, 2, 3, 4"),
        (lambda c: c["channels"].update({99: {"gain": 6.0}}), "whole file", r"rcid \[99\]"),
        (lambda c: c["pixel_axes"].update(x="up"), "pixel_axes.x", "'east' or 'west'"),
    ],
)
def test_a_wrong_file_is_refused_with_key_and_reason(include, tmp_path, change, key, reason):
    path = tmp_path / "config" / "cameras" / "broken.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(changed(include, change)))
    with pytest.raises(DeclarationError, match=reason) as caught:
        load_camera("broken", tmp_path)
    assert "broken.yaml" in str(caught.value)
    assert key in str(caught.value)


def test_an_unknown_camera_names_the_known_ones(include):
    with pytest.raises(DeclarationError, match="known here: mini, ztf"):
        load_camera("lsst", include)


def test_what_is_not_yaml_is_refused(tmp_path):
    path = tmp_path / "config" / "cameras" / "broken.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("a: [1, 2")
    with pytest.raises(DeclarationError, match="not YAML"):
        load_camera("broken", tmp_path)
