"""Suites from references to alerts: good rows pass, every seeded defect is named by the right sentence."""

import datetime as dt

import numpy as np
import pytest

from zsds_tasks.lakehouse.checks import add_lookups, to_pandas
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.lakehouse.suites import handwritten_suite
from zsds_tasks.products.tables import conform, load_table
from zsds_tasks.settings import REPOSITORY

INCLUDE = REPOSITORY / "include"
NID, EXPID, RCID, FIELD, FID = 3206, 3206_12345, 3, 600, 2
PID = EXPID * 10_000 + RCID * 100 + 15
CANDID = PID * 1_000_000 + 10_000 + 5_000
RFID = FIELD * 1_000_000 + 120_000 + FID * 100 + RCID
OBSJD = 2460959.5 + 0.12345 + 1
NIGHT_ZERO_MJD = OBSJD - 0.12345 - NID - 2400000.5
MAGZP, LIMIT = 26.2, 20.6
VERSION, SHA = "0123456789ab", "ab" * 32
CONSTANTS = {"quadrants_per_ccd": 4, "night_zero_mjd": NIGHT_ZERO_MJD}


def of(table, row):
    """Return a row with every column, null where nothing is said."""
    return dict.fromkeys(column.name for column in load_table(table).columns) | row


def science(**changes):
    corners = {"ra1": 150.45, "dec1": 19.57}
    return of("science_images", {
        "expid": EXPID, "rcid": RCID, "pid": PID, "field": FIELD, "fid": FID, "programid": 1, "status": 1,
        "obsjd": OBSJD, "ra": 150.0, "dec": 20.0, "processing_version": VERSION, **corners,
    }) | changes  # fmt: skip


def reference(**changes):
    return of("references", {
        "rfid": RFID, "version": 1, "vbest": 1, "status": 1, "reason": "", "field": FIELD, "fid": FID,
        "filtercode": "zr", "rcid": RCID, "ccdid": 1, "qid": 4, "ra": 150.0, "dec": 20.0, "nframes": 2,
        "n_nights": 2, "jdstart": OBSJD - 30, "jdend": OBSJD - 20, "seeing": 2.0, "magzp": MAGZP,
        "created": dt.datetime(2025, 10, 1, tzinfo=dt.UTC), "zp_offset": 0.0, "magzprms": 0.03,
        "clrcoeff": 0.1, "clrcounc": 0.01, "nmatches": 300, "maglimit": 22.0, "depth_gain": 0.4,
        "coverage": 2.0, "coverage_low": 1.0, "empty_fraction": 0.01, "rms_astrometry": 0.05, "n_sources": 2,
        "crpix1": 1.0, "crpix2": 1.0, "crval1": 150.0, "crval2": 20.0, "cd11": 1e-4, "cd12": 0.0, "cd21": 0.0,
        "cd22": 1e-4, "naxis1": 3072, "naxis2": 3080, "path": "ref/x_refimg.fits",
        "products": [f"{SHA} refimg.fits"], "epochs": [1, 2], "refused": [], "inputs": [SHA, SHA],
        "processing_version": VERSION,
    }) | changes  # fmt: skip


def source(number=0, flux=1000.0, **changes):
    snr = np.float32(flux) / np.float32(5.0)
    bright = flux > 0
    return of("reference_sources", {
        "rfid": RFID, "version": 1, "sourceid": number, "rcid": RCID, "field": FIELD, "fid": FID,
        "xpos": 100.0, "ypos": 200.0, "ra": 150.1, "dec": 20.1, "sigpos": 0.02, "flux": flux, "sigflux": 5.0,
        "mag": -2.5 * np.log10(flux) + MAGZP + 0.02 if bright else None,
        "sigmag": 1.0857 / float(snr) if bright else None, "clrcoeff": 0.1, "snr": float(snr), "chi": 1.0,
        "sharp": 0.0, "flags": 0,
    }) | changes  # fmt: skip


def difference(**changes):
    return of("difference_images", {
        "pid": PID, "expid": EXPID, "rcid": RCID, "night": "20251012", "obsjd": OBSJD, "field": FIELD,
        "fid": FID, "programid": 1, "ra": 150.0, "dec": 20.0, "status": 1, "stage": "done", "reason": "",
        "pass_number": 1, "rfid": RFID, "rfversion": 1, "engine": "zogy", "magzp": MAGZP, "diffmaglim": LIMIT,
        "overlap": 0.98, "gain_factor": 1.0, "gain_over_zero_points": 1.001, "gain_scatter": 0.02,
        "registration_px": 0.05, "offset_px": 0.02, "noise": 6.0, "score_scatter": 1.0, "level": 0.01,
        "worst_level": 0.02, "positive_over_negative": 1.1, "star_residual": 0.005, "fwhm_px": 2.4,
        "n_stars": 200, "n_positive": 1, "n_negative": 0, "path": "sci/x", "products": [f"{SHA} x"],
        "science_version": VERSION, "processing_version": VERSION, "core_seconds": 1.0,
    }) | changes  # fmt: skip


def candidate(**changes):
    flux, snr = 1000.0, 20.0
    magpsf = float(np.float32(-2.5 * np.log10(flux) + MAGZP))
    magap = magpsf + 0.05
    return of("candidates", {
        "candid": CANDID, "pid": PID, "expid": EXPID, "jd": OBSJD, "night": "20251012", "nid": NID,
        "fid": FID, "field": FIELD, "rcid": RCID, "programid": 1, "tblid": 0, "isdiffpos": True,
        "xpos": 100.0, "ypos": 200.0, "ra": 150.1, "dec": 20.1, "sigpos": 0.05, "flux": flux,
        "sigflux": flux / snr, "snr": snr, "scorr": 19.0, "magpsf": magpsf, "sigmapsf": 1.0857 / snr,
        "chipsf": 1.0, "magap": magap, "sigmagap": 0.06, "magapbig": magap, "sigmagapbig": 0.08,
        "magdiff": 0.05, "magfromlim": LIMIT - magap, "diffmaglim": LIMIT, "sky": 0.1, "fwhm": 2.5,
        "seeratio": 0.96, "classtar": 0.9, "aimage": 1.1, "bimage": 1.0, "aimagerat": 0.44, "bimagerat": 0.4,
        "elong": 1.1, "nneg": 2, "nbad": 0, "sumrat": 0.9, "mindtoedge": 100.0, "dsnrms": 12.0,
        "ssnrms": 20.0, "dsdiff": -8.0, "dipole": 0.1, "dipole_px": 3.0, "distnr": 2.0, "magnr": 20.0,
        "sigmagnr": 0.1, "chinr": 1.0, "sharpnr": 0.0, "ranr": 150.1, "decnr": 20.1, "objectidps1": 11,
        "distpsnr1": 1.0, "sgscore1": 0.9, "objectidps2": 12, "distpsnr2": 4.0, "nmtchps": 2,
        "neargaia": 3.0, "maggaia": 18.0, "neargaiabright": 60.0, "maggaiabright": 12.0, "rfid": RFID,
        "rfversion": 1, "rb": 0.8, "rbversion": "m1", "drbversion": "", "processing_version": VERSION,
    }) | changes  # fmt: skip


def alert(**changes):
    carried = {name: candidate()[name] for name in (
        "candid", "pid", "expid", "jd", "night", "fid", "field", "rcid", "programid", "ra", "dec",
        "isdiffpos", "magpsf", "sigmapsf", "scorr",
    )}  # fmt: skip
    return of("alerts", {
        **carried, "objectid": "ZTF25aaaaaab", "ndethist": 1, "ncovhist": 4, "sha256": SHA,
        "ssdistnr": 2.0, "ssmagnr": 19.0, "ssnamenr": "692", "topic": "ztf_20251012_programid1",
        "processing_version": VERSION,
    }) | changes  # fmt: skip


def thing(**changes):
    return of("alert_objects", {
        "objectid": "ZTF25aaaaaab", "year": 2025, "ordinal": 1, "ra": 150.1, "dec": 20.1 + 1e-4, "jd": OBSJD,
        "candid": CANDID,
    }) | changes  # fmt: skip


GOOD = {
    "science_images": [science], "references": [reference], "difference_images": [difference],
    "reference_sources": [source, lambda **c: source(1, -20.0, **c)], "candidates": [candidate],
    "alerts": [alert], "alert_objects": [thing],
}  # fmt: skip


def broken_by(table, rows, **others):
    """Return sentence -> severity of what each row breaks, by the relations alone."""
    suite = handwritten_suite(table, INCLUDE)
    given = {name: [make() for make in makers] for name, makers in GOOD.items()}
    # Rows stand in the table itself as well: some sentences count them.
    given |= {table: rows} | others
    lax = {name: conform_loosely(name, content) for name, content in given.items()}
    joined = add_lookups(to_pandas(conform_loosely(table, rows)), suite.meta.lookups, lax, subject=table)
    found = [{} for _ in rows]
    for expected in suite.expectations:
        for row, fine in zip(found, holds(expected.kwargs["relation"], joined, CONSTANTS), strict=True):
            if not fine:
                row[expected.description] = expected.severity
    return found


def conform_loosely(name, rows):
    """Conform rows; science images are given only what the suites look up."""
    if name != "science_images":
        return conform(rows, load_table(name))
    import pyarrow as pa

    return pa.Table.from_pylist(rows)


@pytest.mark.parametrize("table", [name for name in GOOD if name != "science_images"])
def test_good_rows_break_nothing(table):
    rows = [make() for make in GOOD[table]]
    assert broken_by(table, rows) == [{}] * len(rows)


DEFECTS = {
    ("references", reference): [
        ({"rfid": RFID + 1}, "rfid is made of field"),
        ({"ccdid": 2}, "rcid is 4 (ccdid - 1)"),
        ({"status": 0, "reason": "few"}, "The best reference may be used"),
        ({"status": 0, "vbest": 0}, "A reference that may not be used says why"),
        ({"products": []}, "There is a path exactly where"),
        ({"path": None, "products": []}, "A reference that may be used has its files"),
        ({"epochs": [1]}, "Every epoch is named"),
        ({"inputs": [SHA]}, "Every epoch is named"),
        ({"n_nights": 3}, "Epochs are of no more nights"),
        ({"jdstart": OBSJD}, "The first epoch is not later"),
        ({"magzp": None}, "A reference that may be used has its calibration"),
        ({"crval1": None}, "A reference that may be used has its astrometry"),
        ({"coverage": 3.0}, "No pixel has more epochs"),
        ({"n_sources": 0}, "A reference that may be used has sources"),
    ],
    ("reference_sources", source): [
        ({"version": 2}, "Every source belongs to exactly one row of references"),
        ({"rcid": 4}, "Filter, field and channel are those"),
        ({"sigflux": 0.0}, "Every flux has an error"),
        ({"snr": 10.0}, "snr is the flux over its error"),
        ({"mag": None}, "There is a magnitude exactly where"),
        ({"mag": 18.0}, "A magnitude is -2.5 log10(flux) + MAGZP"),
        ({"sigmag": 0.2}, "The error of a magnitude"),
        ({"clrcoeff": 0.2}, "The colour coefficient is that"),
        ({"flags": 2}, "The bits that mark sources"),
        ({"sexflags": 4}, "Aperture measures are complete"),
    ],
    ("difference_images", difference): [
        ({"pid": PID + 100}, "Every difference is of exactly one row of science_images"),
        ({"obsjd": OBSJD + 1}, "Time, filter, field and programme"),
        ({"programid": 2}, "Time, filter, field and programme"),
        ({"rcid": 4}, "pid is made of exposure and channel"),
        ({"rfversion": 2}, "What was subtracted is exactly one row of references"),
        ({"rfid": RFID + 1}, "The reference is of the same field"),
        ({"status": 0}, "A difference that may not be used says why"),
        ({"stage": "subtract"}, "A difference that may be used went through"),
        ({"path": None}, "There is a path exactly where"),
        ({"fwhm_px": None}, "A difference that may be used has its measures"),
        ({"n_negative": 3}, "n_positive and n_negative count"),
        ({"status": 0, "reason": "no stars"}, "A difference that may not be used has no candidates"),
        ({"diffmaglim": 27.0}, "A source at the limit"),
        ({"offset_px": -1.0}, "An offset has no sign"),
    ],
    ("candidates", candidate): [
        ({"pid": PID + 100}, "Every candidate belongs to exactly one row of difference_images"),
        ({"candid": CANDID + 1}, "candid is made of pid"),
        ({"candid": CANDID + 10_000}, "candid is made of pid"),
        ({"isdiffpos": False}, "candid is made of pid"),
        ({"rcid": 4}, "pid is made of exposure and channel"),
        ({"nid": NID + 1}, "expid begins with the night number"),
        ({"jd": OBSJD + 0.1}, "Time, filter, field and programme"),
        ({"rfversion": 2}, "The reference is that of the difference"),
        ({"processing_version": "ba9876543210"}, "Candidates are of the same processing"),
        ({"ra": 152.0}, "Candidates lie inside their image"),
        ({"snr": 10.0}, "snr is the flux over its error"),
        ({"magpsf": None}, "There is a magnitude exactly where"),
        ({"sigmapsf": 0.2}, "The error of a magnitude"),
        ({"magdiff": 0.06}, "magdiff is magap less magpsf"),
        ({"magfromlim": 0.5}, "magfromlim is diffmaglim less magap"),
        ({"diffmaglim": 20.5}, "The limit is that of the difference"),
        ({"dsdiff": 8.0}, "dsdiff is dsnrms less ssnrms"),
        ({"elong": 1.2}, "elong is aimage over bimage"),
        ({"aimagerat": 0.5}, "aimagerat and bimagerat"),
        ({"seeratio": 2.1}, "fwhm is not below half"),
        ({"ranr": None}, "The nearest source of the reference"),
        ({"nmtchps": 3}, "There are as many Pan-STARRS neighbours"),
        ({"objectidps1": None}, "Every Pan-STARRS neighbour has a number"),
        ({"distpsnr1": 5.0}, "Pan-STARRS neighbours are in order"),
        ({"neargaia": 61.0}, "No bright Gaia source is nearer"),
        ({"rbversion": ""}, "Every score names its model"),
        ({"dipole_px": None}, "The other half of a dipole"),
    ],
    ("alerts", alert): [
        ({"pid": PID + 100}, "Every alert is of exactly one row of difference_images"),
        ({"expid": EXPID + 1}, "candid and pid are made"),
        ({"candid": CANDID + 1}, "Every alert is of exactly one candidate"),
        ({"ra": 150.1001}, "Place, time, filter and programme"),
        ({"magpsf": 18.0}, "Magnitude and score are those of the candidate"),
        ({"objectid": "ZTF25aaaaaac"}, "Every alert has exactly one object"),
        ({"dec": 20.101}, "An alert lies within 1.5 arcsec"),
        ({"sigmapsf": 0.22}, "Alerts are over 5 sigma"),
        ({"scorr": 4.5}, "The score of an alert is 5"),
        ({"topic": "ztf_20251012_programid2"}, "The topic is of the programme"),
        ({"ssnamenr": None}, "A known object has distance"),
        ({"ssdistnr": 40.0}, "A known object has distance"),
    ],
    ("alert_objects", thing): [
        ({"objectid": "ZTF24aaaaaab"}, "The name begins with the year"),
        ({"year": 2024}, "The year is that of the first detection"),
        ({"candid": CANDID + 20 * 10**15}, "The candidate that founded it"),
    ],
}  # fmt: skip
CASES = [(table, make, *case) for (table, make), cases in DEFECTS.items() for case in cases]


@pytest.mark.parametrize(
    ("table", "make", "change", "sentence"), CASES, ids=[f"{c[0]}-{c[2]}" for c in CASES]
)
def test_a_defect_is_critical_and_named(table, make, change, sentence):
    (found, *_) = broken_by(table, [make(**change), *(m() for m in GOOD[table][1:])])
    named = {words: severity for words, severity in found.items() if words.startswith(sentence)}
    assert list(named.values()) == ["critical"], found


def test_what_only_other_rows_show():
    """Two of a kind, relatives that may not be used, counts."""
    twins = broken_by("references", [reference(), reference(version=2)])
    assert all("No two versions of a reference are the best" in row for row in twins)
    assert "A reference has as many sources as it says" in broken_by("reference_sources", [source()])[0]
    unusable = {"science_images": [science(status=0)]}
    assert (
        "Only images that may be used are compared"
        in broken_by("difference_images", [difference()], **unusable)[0]
    )
    failed = {"references": [reference(status=0)]}
    assert (
        "Only references that may be used are subtracted"
        in broken_by("difference_images", [difference()], **failed)[0]
    )
    bad = {"difference_images": [difference(status=0)]}
    assert (
        "Candidates come from differences that may be used"
        in broken_by("candidates", [candidate()], **bad)[0]
    )
    assert "Alerts come from differences that may be used" in broken_by("alerts", [alert()], **bad)[0]
    assert all(
        "No packet is there twice" in row for row in broken_by("alerts", [alert(), alert(candid=CANDID + 1)])
    )
    names = broken_by("alert_objects", [thing(), thing(objectid="ZTF25aaaaaac")])
    assert all("No two objects have the same number of a year" in row for row in names)


def test_an_alert_whose_candidate_a_later_pass_replaced_is_right():
    later = {"candidates": [], "difference_images": [difference(pass_number=2)]}
    assert broken_by("alerts", [alert()], **later) == [{}]
    gone = broken_by("alerts", [alert()], candidates=[])[0]
    assert list(gone) == ["Every alert is of exactly one candidate, unless a later pass has replaced it"]


WARNINGS = {
    ("references", reference): [
        {"depth_gain": -0.1}, {"zp_offset": 0.2}, {"magzprms": 0.1}, {"rms_astrometry": 0.3},
        {"empty_fraction": 0.3}, {"seeing": 6.0},
    ],
    ("difference_images", difference): [
        {"science_version": "ba9876543210"}, {"overlap": 0.6}, {"gain_over_zero_points": 1.1},
        {"registration_px": 0.5}, {"score_scatter": 1.4}, {"level": 0.3}, {"star_residual": 0.06},
        {"positive_over_negative": 4.0},
    ],
    ("candidates", candidate): [{"chipsf": 9.0}, {"scorr": 2.5}],
}  # fmt: skip


def test_what_is_poor_is_a_warning_of_its_own():
    for (table, make), changes in WARNINGS.items():
        for change in changes:
            (found,) = broken_by(table, [make(**change)])
            assert list(found.values()) == ["warning"], (table, change, found)
    (late,) = broken_by("difference_images", [difference()], references=[reference(jdend=OBSJD + 1)])
    assert list(late) == ["All epochs of the reference are earlier than the image"]
    (young,) = broken_by("alerts", [alert()], alert_objects=[thing(jd=OBSJD + 1)])
    assert list(young) == ["No object is younger than its alert"]
