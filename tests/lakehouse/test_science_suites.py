"""The suites of the science tables: good rows pass, every seeded defect is named by the right sentence."""

import datetime as dt

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse.checks import add_lookups, check_rows, to_pandas
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.lakehouse.suites import handwritten_suite
from zsds_tasks.products.tables import conform, load_table
from zsds_tasks.settings import REPOSITORY

INCLUDE = REPOSITORY / "include"
EXPID, RCID, FAILED = 306_43385, 3, 7
PID = EXPID * 10_000 + RCID * 100 + 15
OBSJD = 2458059.93385
SHA = "ab" * 32
MAGZP = 26.25
CONSTANTS = {"quadrants_per_ccd": 4}


def exposure():
    return {"expid": EXPID, "obsjd": OBSJD, "fid": 2, "is_science": True}


def quadrant(rcid=RCID):
    return {"expid": EXPID, "rcid": rcid, "sha256": SHA, "ra": 150.0, "dec": 20.0}


def image(**changes):
    corners = {"ra1": 150.45, "dec1": 19.57, "ra2": 149.55, "dec2": 19.57}
    corners |= {"ra3": 149.55, "dec3": 20.43, "ra4": 150.45, "dec4": 20.43}
    wcs = {"crpix1": 1536.5, "crpix2": 1540.5, "crval1": 150.0, "crval2": 20.0}
    wcs |= {"cd11": -2.8e-4, "cd12": 0.0, "cd21": 0.0, "cd22": 2.8e-4}
    return {
        "expid": EXPID, "rcid": RCID, "pid": PID, "ccdid": 1, "qid": 4, "nid": 306, "night": "20171102",
        "obsjd": OBSJD, "exptime": 30.0, "field": 600, "fid": 2, "filtercode": "zr", "programid": 1,
        "ipac_gid": 1, "ipac_pub_date": dt.datetime(2018, 6, 1, tzinfo=dt.UTC), "status": 1, "infobits": 0,
        "stage": "done", "reason": "", "ra": 150.0, "dec": 20.0, "airmass": 1.1, "moonillf": 0.2,
        "seeing": 2.0, "magzp": MAGZP, "magzpunc": 1e-3, "magzprms": 0.03, "clrcoeff": 0.11, "clrcounc": 1e-3,
        "nmatches": 300, "maglimit": 21.0, "saturate": 55000.0, "path": "sci/x_sciimg.fits",
        "products": [f"{SHA} sciimg.fits"], "raw_sha256": SHA, "masters": ["bias 20171102 ab"],
        "processing_version": "0123456789ab", **wcs, **corners,
    } | changes  # fmt: skip


def failed_image(**changes):
    nothing = dict.fromkeys(name for name in image() if load_table("science_images").column(name).nullable)
    here = {"rcid": FAILED, "pid": EXPID * 10_000 + FAILED * 100 + 15, "ccdid": 2, "qid": 4, "products": []}
    return image(**nothing, **here, status=0, stage="astrometry", reason="no stars") | changes


def quality(**changes):
    row = dict.fromkeys(column.name for column in load_table("image_quality").columns)
    return row | {
        "expid": EXPID, "rcid": RCID, "night": "20171102", "obsjd": OBSJD, "fid": 2, "ra": 150.0, "dec": 20.0,
        "status": 1, "infobits": 0, "sky": 120.0, "noise": 5.0, "noise_ratio": 1.02, "fwhm": 2.0,
        "fwhm_range": 0.2, "elongation": 1.05, "n_psf_stars": 200, "psf_chi": 1.0, "n_sources": 3,
        "astrometry_rung": "prior", "n_astrometry": 400, "rms_east": 0.05, "rms_north": 0.06, "zp30": MAGZP,
        "masked_fraction": 0.02, "processing_version": "0123456789ab",
    } | changes  # fmt: skip


def source(number=0, flux=1000.0, **changes):
    error = 5.0
    snr = np.float32(flux) / np.float32(error)
    zpcorr = 0.01
    bright = flux > 0
    row = dict.fromkeys(column.name for column in load_table("sources").columns)
    return row | {
        "pid": PID, "sourceid": number, "expid": EXPID, "rcid": RCID, "field": 600, "fid": 2,
        "night": "20171102", "obsmjd": OBSJD - 2400000.5, "programid": 1, "xpos": 100.0, "ypos": 200.0,
        "ra": 150.1, "dec": 20.1 + number * 1e-3, "sigpos": 0.02, "flux": flux, "sigflux": error,
        "mag": -2.5 * np.log10(flux) + MAGZP + zpcorr if bright else None,
        "sigmag": 2.5 / np.log(10) / snr if bright else None, "zpcorr": zpcorr, "clrcoeff": 0.11,
        "snr": float(snr), "chi": 1.0, "sharp": 0.0, "flags": 0, "infobits": 0,
    } | changes  # fmt: skip


def sources():
    apertures = {
        "mag_aper": [17.0] * 6, "sigmag_aper": [0.1] * 6, "sexflags": 0, "mag_auto": 18.7,
    }  # fmt: skip
    return [source(0, **apertures), source(1, 0.5, snr=0.1, sigmag=10.857), source(2, 30_000.0)]


def relatives(**others):
    """Return every table by name; some in another state."""
    given = {"science_images": [image(), failed_image()], "image_quality": [quality()], "sources": sources()}
    given |= {"difference_images": [], "references": []}
    raw = {"raw_exposures": [exposure()], "raw_quadrants": [quadrant(), quadrant(FAILED)]}
    tables = {name: conform(content, load_table(name)) for name, content in (given | others).items()}
    return tables | {name: as_arrow(content) for name, content in raw.items()}


def broken_by(table, rows, **others):
    """Return sentence -> severity of what each row breaks, by the relations alone."""
    suite = handwritten_suite(table, INCLUDE)
    frame = to_pandas(conform(rows, load_table(table)))
    joined = add_lookups(frame, suite.meta.lookups, relatives(**others), subject=table)
    found = [{} for _ in rows]
    for expected in suite.expectations:
        for row, fine in zip(found, holds(expected.kwargs["relation"], joined, CONSTANTS), strict=True):
            if not fine:
                row[expected.description] = expected.severity
    return found


def as_arrow(rows):
    return pa.Table.from_pylist(rows)


def test_good_rows_of_every_table_break_nothing():
    assert broken_by("science_images", [image()]) == [{}]
    assert broken_by("image_quality", [quality()]) == [{}]
    bright, faint, very_bright = broken_by("sources", sources())
    assert bright == very_bright == {}
    assert set(faint.values()) == {"warning"}


def test_a_failed_channel_is_a_warning():
    measures = [quality(), quality(rcid=FAILED, status=0, sky=None)]
    good, failed = broken_by("science_images", [image(), failed_image()], image_quality=measures)
    assert good == {}
    assert failed == {"Every channel could be calibrated": "warning"}


IMAGE_DEFECTS = [
    ({"raw_sha256": "cd" * 32}, "The image was made from the bytes that are archived"),
    ({"obsjd": OBSJD + 1}, "Time and filter are those of the exposure"),
    ({"pid": PID + 1}, "pid is made of exposure and channel"),
    ({"nid": 307}, "expid begins with the night number"),
    ({"ccdid": 2}, "rcid is 4 (ccdid - 1) + (qid - 1)"),
    ({"stage": "photometry"}, "An image that may be used went through every stage"),
    ({"infobits": 4}, "An image with infobits says why"),
    ({"path": None}, "There is a path exactly where files were written"),
    ({"crval1": None}, "An image that may be used has its astrometry"),
    ({"magzp": None}, "An image that may be used has its photometric calibration"),
    ({"seeing": None}, "An image that may be used has seeing and saturation"),
    ({"ra3": 149.9}, "The centre lies in the middle between opposite corners"),
    ({"maglimit": 27.0}, "A star at the limit has more than one count"),
    ({"magzpunc": 0.5}, "The zero point is known better than one calibrator"),
    (
        {"ipac_pub_date": dt.datetime(2016, 6, 1, tzinfo=dt.UTC)},
        "Nothing is public before it was observed",
    ),
]
IMAGE_WARNINGS = [
    ({"ra": 150.08, "ra1": 150.53, "ra3": 149.63}, "The image lies within 180 arcsec of where the telescope"),
    ({"seeing": 7.0}, "Seeing is between"),
    ({"magzp": 23.0}, "The zero point of an exposure of about 30 s"),
    ({"magzprms": 0.2}, "Calibrators scatter by no more than"),
    ({"nmatches": 19}, "The photometric fit has 20 calibrators"),
    ({"maglimit": 15.0}, "The limit of an exposure of about 30 s"),
]


def test_a_defect_of_an_image_is_critical_and_named():
    found = broken_by("science_images", [image(**change) for change, _ in IMAGE_DEFECTS])
    for row, (change, sentence) in zip(found, IMAGE_DEFECTS, strict=True):
        assert row.get(sentence) == "critical", change


def test_an_image_later_than_its_reference_that_was_not_compared_is_a_warning():
    reference = {"rfid": 600120203, "version": 1, "field": 600, "fid": 2, "rcid": RCID, "status": 1}
    names = [column.name for column in load_table("references").columns]
    found = []
    for days in (-20, 20):
        table = pa.Table.from_pylist([dict.fromkeys(names) | reference | {"jdend": OBSJD + days}])
        suite = handwritten_suite("science_images", INCLUDE)
        frame = to_pandas(conform([image()], load_table("science_images")))
        others = relatives() | {"references": table}
        joined = add_lookups(frame, suite.meta.lookups, others, subject="science_images")
        broken = [e for e in suite.expectations if not holds(e.kwargs["relation"], joined, CONSTANTS).all()]
        found.append([(e.description, e.severity) for e in broken])
    assert found == [[("Every image later than its reference has a difference image", "warning")], []]


def test_a_poor_image_is_a_warning():
    found = broken_by("science_images", [image(**change) for change, _ in IMAGE_WARNINGS])
    for row, (change, sentence) in zip(found, IMAGE_WARNINGS, strict=True):
        assert [words for words in row if words.startswith(sentence)], change
        assert set(row.values()) == {"warning"}, change


def test_what_failed_has_a_reason_no_file_and_no_sources():
    (broken,) = broken_by("science_images", [failed_image(reason="", path="sci/x", products=["x"])])
    assert broken["An image that may not be used says why"] == "critical"
    assert broken["An image that may not be used has no file"] == "critical"
    late = source(0, pid=failed_image()["pid"], rcid=FAILED)
    (broken,) = broken_by("science_images", [failed_image()], sources=[late])
    assert broken["An image that may not be used has no sources"] == "critical"
    assert broken_by("sources", [late])[0]["Sources come from images that may be used"] == "critical"


def test_an_image_without_its_relatives_is_found():
    alone = {"image_quality": [quality(rcid=9)], "sources": [source(pid=1)]}
    (broken,) = broken_by("science_images", [image()], **alone)
    assert broken["Every processed channel has its measures in image_quality"] == "critical"
    assert broken["An image that may be used has sources"] == "critical"
    stranger = image(rcid=60, ccdid=16, qid=1, pid=EXPID * 10_000 + 6015)
    assert broken_by("science_images", [stranger])[0]["Every processed channel is archived"] == "critical"


SOURCE_DEFECTS = [
    ({"pid": 5}, "Every source belongs to exactly one row of science_images"),
    ({"obsmjd": 58000.0}, "Time and filter are those of the image"),
    ({"infobits": 1}, "Colour coefficient and infobits are those of the image"),
    ({"ra": 152.0}, "Sources lie inside their image"),
    ({"sigflux": 0.0}, "Every flux has an error"),
    ({"snr": 10.0}, "snr is the flux over its error"),
    ({"mag": None}, "There is a magnitude exactly where the flux is above zero"),
    ({"sigmag": 0.2}, "The error of a magnitude is 1.0857 over snr"),
    ({"mag": 18.78}, "A magnitude is -2.5 log10(flux) + MAGZP + zpcorr"),
    ({"flags": 2}, "The bits that mark sources do not enter flags"),
    ({"flags": 2048 + 256}, "The bits that mark sources do not enter flags"),
    ({"sexflags": 4}, "Aperture measures are complete or absent"),
]


def test_a_defect_of_a_source_is_critical_and_named():
    found = broken_by("sources", [source(3, **change) for change, _ in SOURCE_DEFECTS])
    for row, (change, sentence) in zip(found, SOURCE_DEFECTS, strict=True):
        assert row.get(sentence) == "critical", change


def test_a_source_below_zero_has_no_magnitude():
    without, given = broken_by("sources", [source(0, -20.0), source(1, -20.0, mag=20.0, sigmag=0.1)])
    sentence = "There is a magnitude exactly where the flux is above zero"
    assert "critical" not in without.values()
    assert given[sentence] == "critical"


def test_the_nightly_check_allows_a_few_poor_fits():
    rows = [source(n, chi=9.0 if n < 4 else 1.0) for n in range(40)]
    declaration, suite = load_table("sources"), handwritten_suite("sources", INCLUDE)
    found = check_rows(
        conform(rows, declaration), declaration, suite, version=0, constants=CONSTANTS, others=relatives()
    )
    assert {f.expected.description: f.unexpected for f in found.failed} == {
        "The PSF fits nearly all sources": 4
    }


QUALITY_DEFECTS = [
    ({"rcid": 50}, "Every row belongs to exactly one row of science_images"),
    ({"infobits": 1}, "Status and infobits are those of science_images"),
    ({"processing_version": "ba9876543210"}, "The measures are of the same processing as the image"),
    ({"noise": None}, "An image that may be used has its measures of sky and PSF"),
    ({"rms_east": None}, "An image that may be used has its measures of astrometry and photometry"),
    ({"n_sources": 4}, "n_sources counts the rows of sources"),
    ({"zp30": 26.0}, "The reduced zero point is the zero point less 2.5 log10(exposure / 30 s)"),
    ({"fwhm": 20.0}, "Seeing over FWHM is a pixel scale"),
]
QUALITY_WARNINGS = [
    {"noise_ratio": 2.0}, {"elongation": 1.6}, {"fwhm_range": 1.5}, {"n_psf_stars": 10}, {"psf_chi": 4.0},
    {"n_astrometry": 12}, {"rms_north": 0.4}, {"astrometry_rung": "pattern"}, {"pointing_offset": 400.0},
    {"rotation_offset": -0.5}, {"zp_spatial_rms": 0.1}, {"phot_pull": 5.0}, {"masked_fraction": 0.5},
    {"n_tracks": 9},
]  # fmt: skip


def test_a_defect_of_the_measures_is_critical_and_named():
    found = broken_by("image_quality", [quality(**change) for change, _ in QUALITY_DEFECTS])
    for row, (change, sentence) in zip(found, QUALITY_DEFECTS, strict=True):
        assert row.get(sentence) == "critical", change


def test_every_poor_measure_is_a_warning_of_its_own():
    found = broken_by("image_quality", [quality(**change) for change in QUALITY_WARNINGS])
    assert all(list(row.values()) == ["warning"] for row in found)
    assert len({sentence for row in found for sentence in row}) == len(QUALITY_WARNINGS)
