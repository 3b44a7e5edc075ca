import datetime as dt
import io

import numpy as np
import pytest
from astropy.io import fits
from instrument_builders import (
    INCLUDE,
    configuration,
    make_bias,
    make_exposure,
    make_flat,
    make_instrument,
    make_scene,
    small_camera,
)

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.simulator.delivery.frames import primary_header, quadrant_header, write_frame
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.survey.headers import load_headers
from zsds_tasks.survey.survey import load_survey

CONTRACT = load_headers("ztf", INCLUDE)
SURVEY = load_survey("ztf", INCLUDE)
KINDS = {"object": make_exposure, "bias": make_bias, "flat": make_flat}
PYTHON_TYPES = {"str": str, "int": int, "float": float, "bool": bool, "datetime": str}


def headers(exposure, ccdid=1):
    camera = small_camera()
    primary = primary_header(CONTRACT, camera, SURVEY, configuration().schedule, exposure, ccdid)
    return primary, [quadrant_header(CONTRACT, q, exposure) for q in camera.quadrants_of(ccdid)]


@pytest.fixture(scope="module")
def frame():
    return expose_ccd(make_instrument(), make_scene(make_exposure()), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_contract_is_fulfilled(kind):
    exposure = KINDS[kind]()
    primary, extensions = headers(exposure)
    for keyword in CONTRACT.keywords:
        header = extensions[2] if keyword.scope == "quadrant" else primary
        if keyword.keyword not in header:
            assert not keyword.needed_for(exposure.imgtypecode), keyword.keyword
            continue
        value = header[keyword.keyword]
        assert type(value) is PYTHON_TYPES[keyword.type], keyword.keyword
        if keyword.range:
            assert keyword.range[0] <= value <= keyword.range[1], keyword.keyword
    assert ("ILUM_LED" in primary) == (kind == "flat")
    assert ("AIRMASS" in primary) == (kind == "object")


def test_times_and_pointing_are_the_cameras_claims_not_the_truth():
    exposure = make_exposure()
    primary, _ = headers(exposure)
    assert dt.datetime.fromisoformat(primary["SHUTOPEN"] + "+00:00") == exposure.start
    assert dt.datetime.fromisoformat(primary["SHUTCLSD"] + "+00:00") == exposure.shutter_closed
    assert primary["OBSJD"] - 2400000.5 == pytest.approx(primary["OBSMJD"], abs=1e-9)
    assert primary["TELRA"] == exposure.header_ra != exposure.boresight_ra


def test_quadrants_are_described_in_their_extensions():
    _, extensions = headers(make_exposure(), ccdid=2)
    assert [(h["RCID"], h["QID"], h["AMP_NAME"]) for h in extensions] == [
        (4, 1, "h"),
        (5, 2, "g"),
        (6, 3, "f"),
        (7, 4, "e"),
    ]
    assert extensions[0]["GAIN"] == small_camera().quadrants[4].detector.gain


def test_a_value_outside_the_contract_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"AIRMASS: simulated airmass is outside the contract.*Remedy"
    ):
        headers(make_exposure(airmass=99.0))
    with pytest.raises(
        ConfigurationError, match=r"the simulator has no led, which frames of type f must carry"
    ):
        headers(make_flat(led=None))


def test_the_file_holds_the_counts_and_valid_checksums(frame):
    primary, extensions = headers(make_exposure())
    content = write_frame(primary, extensions, frame)
    with fits.open(io.BytesIO(content), checksum=True) as file:
        assert [hdu.name for hdu in file] == [
            "PRIMARY",
            *(f"{kind}{qid}" for kind in ("IMAGE", "OVERSCAN") for qid in (1, 2, 3, 4)),
        ]
        file.verify("exception")
        for k in range(4):
            assert file[k + 1].data.dtype == np.uint16
            assert np.array_equal(file[k + 1].data, frame.images[k])
            assert np.array_equal(file[k + 5].data, frame.overscans[k])
            assert file[k + 5].header["RCID"] == file[k + 1].header["RCID"] == k
    with fits.open(io.BytesIO(content), disable_image_compression=True) as raw:
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in raw)
        assert all(hdu.header["ZCMPTYPE"] == "RICE_1" for hdu in raw[1:])
    assert len(content) % 2880 == 0


def test_a_file_is_the_same_whenever_it_is_written(frame):
    primary, extensions = headers(make_exposure())
    assert write_frame(primary, extensions, frame) == write_frame(primary, extensions, frame)
