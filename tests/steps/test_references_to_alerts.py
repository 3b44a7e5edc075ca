"""From stored epochs to a reference, differences, candidates and alerts; and what a second run does."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import shutil
import tarfile

import numpy as np
import pytest
from astropy.io import fits
from reference_builder import EPOCHS, FIELD, epochs
from science_builder import NIGHT, NOW, copy_of
from scipy.spatial import cKDTree

from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.errors import DeclarationError, NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.checks import add_lookups, to_pandas
from zsds_tasks.lakehouse.relations import holds
from zsds_tasks.lakehouse.suites import handwritten_suite
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.products.psf_files import parse_psf
from zsds_tasks.science.alerts.encode import decode_packet
from zsds_tasks.science.forced.measure import ForcedConfig
from zsds_tasks.science.realbogus import load_models
from zsds_tasks.steps.alerts.archive import archive_alerts
from zsds_tasks.steps.alerts.forced import ForcedWork, measure_image
from zsds_tasks.steps.alerts.lineage import lineage
from zsds_tasks.steps.alerts.pictures import draw_stamps
from zsds_tasks.steps.alerts.run import make_alerts
from zsds_tasks.steps.alerts.send import send_alerts
from zsds_tasks.steps.checks import survey_constants
from zsds_tasks.steps.difference import build as difference_build
from zsds_tasks.steps.difference import difference_work, load_differencing_config, subtract_references
from zsds_tasks.steps.exposure.configuration import load_exposure_config
from zsds_tasks.steps.night_rows import rows_of_night
from zsds_tasks.steps.references import (
    build_references,
    load_references_config,
    reference_work,
)
from zsds_tasks.steps.references.rows import SOURCES
from zsds_tasks.steps.science_frames import open_frame
from zsds_tasks.survey.filenames import ReferenceFileName, ReferenceSuffix

pytestmark = pytest.mark.timeout(480)
RCID = 0


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Five epochs of one field in r."""
    return epochs(tmp_path_factory.mktemp("epochs"))


@pytest.fixture(scope="module")
def built(calibrated, tmp_path_factory):
    """The same with the reference of one channel."""
    place = copy_of(calibrated, tmp_path_factory.mktemp("built"))
    summary = build_references(place.lakehouse, place.settings, NOW, rcids=[RCID])
    assert (summary.built, summary.failed) == (1, ()), summary
    return place


def row_of(place, **where):
    (row,) = place.lakehouse.table("references").read(where={"rcid": RCID, "vbest": 1} | where).to_pylist()
    return row


def pixels(place, suffix):
    row = row_of(place)
    path = row["path"].replace("refimg.fits", suffix)
    return decode_image(place.lakehouse.storage.read_bytes(path), subject=path)


def test_a_reference_is_deeper_than_its_epochs(built):
    row = row_of(built)
    assert row["rfid"] == int(f"{FIELD}120200")
    assert row["nframes"] >= 4
    expected = 1.25 * np.log10(row["nframes"])
    assert row["depth_gain"] == pytest.approx(expected, abs=0.15)
    assert abs(row["zp_offset"]) < 0.01
    assert row["magzprms"] < 0.04
    assert row["rms_astrometry"] < 0.03
    assert row["coverage"] == row["nframes"]
    assert row["empty_fraction"] < 0.02


def test_its_magnitudes_and_places_are_true(built):
    sources = built.lakehouse.table(SOURCES).read(where={"rcid": RCID}).to_pandas()
    truth = built.detections.to_pandas()
    truth = truth[(truth.rcid == RCID) & (truth.kind == "star")].drop_duplicates("object_id")
    bright = sources[(sources["flags"] == 0) & (sources.snr > 200)]
    off_ra = (bright.ra.to_numpy()[:, None] - truth.ra.to_numpy()) * np.cos(np.radians(bright.dec.mean()))
    off_dec = bright.dec.to_numpy()[:, None] - truth.dec.to_numpy()
    distance = np.hypot(off_ra, off_dec) * 3600
    partner, nearest = distance.argmin(axis=1), distance.min(axis=1)
    assert len(bright) > 50
    assert np.median(nearest) < 0.03
    change = bright.mag.to_numpy() - truth.mag.to_numpy()[partner]
    # Without a colour term: colours of stars spread by some 0.4 mag, and the coefficient is 0.1.
    assert abs(np.median(change)) < 0.1
    assert 1.4826 * np.median(np.abs(change - np.median(change))) < 0.08


def test_it_has_one_zero_point_though_flats_of_its_epochs_were_wrong(built):
    config = load_exposure_config(built.settings.include).background
    rows = built.lakehouse.table("science_images").read(where={"rcid": RCID, "status": 1}).to_pylist()
    sources = built.lakehouse.table("sources")
    for row in rows:
        frame = open_frame(built.lakehouse, row, config)
        assert frame.spatial.rms > 0.015  # no star flat yet
        found = sources.read(["xpos", "ypos", "zpcorr"], {"pid": row["pid"]}).to_pandas()
        assert np.allclose(frame.spatial.at(found.xpos, found.ypos), found.zpcorr, atol=1e-4)
    truth = built.detections.to_pandas()
    truth = truth[(truth.rcid == RCID) & (truth.kind == "star")].drop_duplicates("object_id")
    bright = built.lakehouse.table(SOURCES).read(where={"rcid": RCID}).to_pandas()
    bright = bright[(bright["flags"] == 0) & (bright.snr > 100)]
    there = np.column_stack([truth.ra * np.cos(np.radians(truth.dec)), truth.dec]) * 3600
    here = np.column_stack([bright.ra * np.cos(np.radians(bright.dec)), bright.dec]) * 3600
    distance, near = cKDTree(there).query(here)
    bright, near = bright[distance < 0.3], near[distance < 0.3]
    change = -2.5 * np.log10(bright.flux.to_numpy()) - truth.mag.to_numpy()[near]
    u = bright.xpos.to_numpy() / bright.xpos.max() * 2 - 1
    for _ in range(5):
        slope, level = np.polyfit(u, change, 1)
        kept = np.abs(change - slope * u - level) < 3 * np.std(change - slope * u - level)
        u, change = u[kept], change[kept]
    assert len(u) > 60
    assert abs(slope) < 0.012  # colours scatter by 0.04 mag; the epochs' own slopes are 0.04


def test_its_files_agree_with_each_other(built):
    image, coverage, uncertainty = (pixels(built, f"{s}.fits") for s in ("refimg", "refcov", "refunc"))
    assert image.shape == coverage.shape == uncertainty.shape
    assert np.array_equal(np.isfinite(image), coverage > 0)
    sky = image[coverage >= coverage.max()]
    width = 1.4826 * np.median(np.abs(sky - np.median(sky)))
    # Resampling takes noise from a pixel and gives it to its neighbours.
    assert 0.75 < width / np.median(uncertainty[coverage >= coverage.max()]) < 1.1
    path = row_of(built)["path"].replace("refimg.fits", "refimgdao.psf")
    psf = parse_psf(built.lakehouse.storage.read_bytes(path), subject=path)
    assert psf.stamp(400.0, 400.0).sum() == pytest.approx(1.0, abs=0.01)


def test_a_second_run_finds_nothing(built):
    before = built.lakehouse.table("references").version()
    summary = build_references(built.lakehouse, built.settings, NOW, rcids=[RCID])
    assert (summary.built, summary.reason) == (0, "every reference that can be built is there")
    assert built.lakehouse.table("references").version() == before


def test_a_clearly_better_one_supersedes_and_the_old_one_stays(built, tmp_path):
    place = copy_of(built, tmp_path)
    config = load_references_config(place.settings.include, "mini")
    easily = config.replacement.model_copy(update={"depth_gain_mag": 0.01, "depth_tolerance_mag": 0.0})
    wanted = {"min_frames": EPOCHS, "below_best_zp_mag": 3.0, "below_median_limit_mag": 3.0}
    more = config.selection.model_copy(update=wanted)
    config = config.model_copy(update={"replacement": easily, "selection": more})
    first = row_of(place)
    summary = build_references(place.lakehouse, place.settings, NOW, rcids=[RCID], config=config)
    assert (summary.built, summary.failed) == (1, ())
    rows = {
        row["version"]: row
        for row in place.lakehouse.table("references").read(where={"rcid": RCID}).to_pylist()
    }
    assert (rows[1]["vbest"], rows[2]["vbest"]) == (0, 1)
    assert rows[2]["nframes"] == EPOCHS
    assert "deeper" in rows[2]["reason"]
    assert rows[1]["path"] == first["path"] != rows[2]["path"]
    for row in rows.values():
        assert place.lakehouse.storage.exists(row["path"])
    versions = place.lakehouse.table(SOURCES).read(["version"], {"rcid": RCID})["version"].to_pylist()
    assert set(versions) == {1, 2}


def test_epochs_that_are_missing_are_waited_for(calibrated):
    config = load_references_config(calibrated.settings.include, "mini")
    config = config.model_copy(update={"selection": config.selection.model_copy(update={"min_nights": 3})})
    work, waiting = reference_work(calibrated.lakehouse, calibrated.settings, config)
    assert not work
    assert len(waiting) == 4
    assert "of 1 nights, 3 needed" in waiting[0].reason


def test_an_epoch_that_is_gone_fails_its_reference_alone(calibrated, tmp_path):
    place = copy_of(calibrated, tmp_path)
    work, _ = reference_work(
        place.lakehouse, place.settings, load_references_config(place.settings.include, "mini")
    )
    gone = next(one for one in work if one.rfid.rcid == 1).epochs[0]["path"]
    place.lakehouse.storage.delete(gone)
    summary = build_references(place.lakehouse, place.settings, NOW, rcids=[RCID, 1])
    assert summary.built == 1
    (failure,) = summary.failed
    assert gone in failure
    assert "is gone" in failure
    again = build_references(place.lakehouse, place.settings, NOW, rcids=[RCID, 1])
    assert again.built == 0


def test_killed_between_its_commits(built, calibrated, tmp_path, monkeypatch):
    """Sources were committed, the row was not: the same version is built again, nothing is doubled."""
    place = copy_of(calibrated, tmp_path)
    table = type(place.lakehouse.table("references"))
    merge = table.merge

    def killed(self, rows, *args, **kwargs):
        if self.name == "references":
            raise KeyboardInterrupt
        return merge(self, rows, *args, **kwargs)

    monkeypatch.setattr(table, "merge", killed)
    with pytest.raises(KeyboardInterrupt):
        build_references(place.lakehouse, place.settings, NOW, rcids=[RCID])
    monkeypatch.setattr(table, "merge", merge)
    build_references(place.lakehouse, place.settings, NOW, rcids=[RCID])
    columns = ["rfid", "version", "sourceid", "mag"]
    expected = built.lakehouse.table(SOURCES).read(columns, {"rcid": RCID}).sort_by("sourceid")
    assert place.lakehouse.table(SOURCES).read(columns, {"rcid": RCID}).sort_by("sourceid").equals(expected)


def test_a_new_installation_has_nothing_to_do(settings):
    """No catalogues, no tables."""
    lakehouse = open_lakehouse(settings)
    assert "is there" in build_references(lakehouse, settings, NOW).reason
    assert subtract_references(lakehouse, settings).reason == "no image is due"
    assert make_alerts(lakehouse, settings).alerts == 0


def test_file_names_of_versions():
    first = ReferenceFileName(1004, "zr", 1, 1, ReferenceSuffix.IMAGE)
    second = ReferenceFileName(1004, "zr", 1, 1, ReferenceSuffix.IMAGE, version=2)
    assert first.path == "ref/001/field001004/zr/ccd01/q1/ztf_001004_zr_c01_q1_refimg.fits"
    assert second.path == "ref/001/field001004/zr/ccd01/q1/v2/ztf_001004_zr_c01_q1_refimg.fits"


def test_a_wrong_override_names_file_and_key(tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "references.yaml").write_text("cameras: {mini: {selection: {min_frames: none}}}\n")
    assert load_references_config(tmp_path, "ztf").selection.min_frames == 15
    with pytest.raises(DeclarationError, match=r"references.yaml, cameras.mini.*selection.min_frames"):
        load_references_config(tmp_path, "mini")


@pytest.fixture
def any_order(built):
    """Configuration under which the epoch that the reference left out, an earlier one, is compared."""
    return load_differencing_config(built.settings.include).model_copy(update={"only_later": False})


@contextlib.contextmanager
def stars_in_the_sky(ra, dec, flux):
    """Put stars (DN; below zero: take them out) into every science image that is read to be compared."""
    original = difference_build.science_side

    def with_stars(given, work):
        side = original(given, work)
        for a, b, light in zip(*given.frame.wcs.sky_to_pixel(ra, dec), flux, strict=True):
            column, line = round(a) - 1, round(b) - 1
            if min(column, line) < 13 or max(column, line) > min(side.image.shape) - 14:
                continue
            stamp = side.psf.stamp(a - 1, b - 1, 25, (a - 1 - column, b - 1 - line))
            side.image[line - 12 : line + 13, column - 12 : column + 13] += np.float32(light) * stamp
        return side

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference_build, "science_side", with_stars)
        yield


@pytest.fixture(scope="module")
def planted(built, tmp_path_factory):
    """The same with differences; at 40 places of the sky stars of S/N 8 to 60 were put in, or taken out."""
    place = copy_of(built, tmp_path_factory.mktemp("planted"))
    generator = np.random.default_rng(5)
    row, n = row_of(place), 40
    reach = 0.09
    ra = row["ra"] + generator.uniform(-reach, reach, n) / np.cos(np.radians(row["dec"]))
    dec = row["dec"] + generator.uniform(-reach, reach, n)
    flux = np.where(np.arange(n) % 2, 1.0, -1.0) * np.geomspace(300, 2500, n)
    config = load_differencing_config(place.settings.include).model_copy(update={"only_later": False})
    with stars_in_the_sky(ra, dec, flux):
        summary = subtract_references(place.lakehouse, place.settings, config=config)
    compared = EPOCHS - row["nframes"]
    assert compared >= 1
    assert (summary.images, summary.failed, summary.waiting) == (compared, (), 3 * EPOCHS)
    return place, ra, dec, flux


def test_what_was_planted_is_found_with_its_flux_and_place(planted):
    place, ra, dec, flux = planted
    everything = place.lakehouse.table("candidates").read().to_pandas()
    for _, rows in everything[everything.scorr >= 5].groupby("pid"):
        east = (rows.ra.to_numpy() - ra[:, None]) * np.cos(np.radians(dec[:, None])) * 3600
        distance = np.hypot(east, (rows.dec.to_numpy() - dec[:, None]) * 3600)
        nearest, partner = distance.min(axis=1), distance.argmin(axis=1)
        found = nearest < 1.0
        strong = np.abs(flux) > 500  # S/N about 10 where no star shines
        assert found[strong].mean() > 0.9
        measured = rows.iloc[partner[found]]
        assert np.array_equal(measured.isdiffpos.to_numpy(), flux[found] > 0)
        pull = (measured.flux.to_numpy() - np.abs(flux[found])) / measured.sigflux.to_numpy()
        assert abs(np.median(pull)) < 0.6
        assert 1.4826 * np.median(np.abs(pull)) < 1.6
        assert len(rows) - found.sum() <= 4  # what else is there: this field's own variables and asteroids
        assert np.median(nearest[found]) < 0.25


def test_rows_of_candidates_are_whole(planted):
    place = planted[0]
    rows = place.lakehouse.table("candidates").read().to_pandas()
    assert rows.candid.is_unique
    pid, rest = np.divmod(rows.candid.to_numpy(), 1_000_000)
    assert np.array_equal(pid, rows.pid)
    assert np.array_equal(rest - rows.tblid, np.where(rows.isdiffpos, 15_000, 10_000))
    for image in place.lakehouse.table("difference_images").read().to_pylist():
        assert image["n_positive"] + image["n_negative"] == (rows.pid == image["pid"]).sum()
        assert image["score_scatter"] == pytest.approx(1.0, abs=0.06)
        assert image["gain_over_zero_points"] == pytest.approx(1.0, abs=0.01)
        assert image["registration_px"] < 0.15
        for suffix in ("scimrefdiffimg.fits.fz", "diffimgpsf.fits", "alertcutouts.parquet"):
            path = image["path"].replace("scimrefdiffimg.fits.fz", suffix)
            assert place.lakehouse.storage.exists(path)
    assert rows.distpsnr1.dropna().between(0, 30).all()
    assert (rows.distpsnr1.notna() == (rows.nmtchps > 0)).all()
    near = rows[rows.distpsnr3.notna()]
    assert (near.distpsnr1 <= near.distpsnr2).all()
    assert (near.distpsnr2 <= near.distpsnr3).all()


def test_what_is_done_is_not_done_again(planted, any_order):
    place = planted[0]
    version = place.lakehouse.table("candidates").version()
    summary = subtract_references(place.lakehouse, place.settings, config=any_order)
    assert (summary.images, summary.reason) == (0, f"no image is due; {3 * EPOCHS} wait for a reference")
    assert place.lakehouse.table("candidates").version() == version


def test_epochs_of_the_reference_and_earlier_images_are_not_compared_with_it(built, any_order):
    later, _ = difference_work(
        built.lakehouse, built.settings, load_differencing_config(built.settings.include)
    )
    either, _ = difference_work(built.lakehouse, built.settings, any_order)
    assert all(work.image["obsjd"] > work.reference["jdend"] for work in later)
    assert len(later) < len(either)
    left_out = set(pids(built.lakehouse)) - set(row_of(built)["epochs"])
    assert [work.image["pid"] for work in either] == sorted(left_out)


def test_a_reference_whose_file_is_gone_fails_the_difference(built, any_order, tmp_path):
    place = copy_of(built, tmp_path)
    gone = row_of(place)["path"]
    place.lakehouse.storage.delete(gone)
    summary = subtract_references(place.lakehouse, place.settings, config=any_order)
    failure = summary.failed[0]
    assert gone in failure
    assert "have the reference built again" in failure
    row, *_ = place.lakehouse.table("difference_images").read().to_pylist()
    assert (row["status"], row["stage"]) == (0, "subtract")


def pids(lakehouse: Lakehouse) -> list[int]:
    return lakehouse.table("science_images").read(["pid"], {"rcid": RCID})["pid"].to_pylist()


@pytest.fixture(scope="module")
def alerted(planted, tmp_path_factory):
    """The same with alerts."""
    place = copy_of(planted[0], tmp_path_factory.mktemp("alerted"))
    summary = make_alerts(place.lakehouse, place.settings)
    assert summary.exposures >= 1
    return place, summary


def packets_of(place):
    outbox = Outbox(place.settings.outbox_folder)
    messages = [message for topic in outbox.topics() for message in outbox.pending(topic)]
    return {message.candid: (message, decode_packet(message.payload)) for message in messages}


def test_every_trigger_has_one_packet_under_the_published_schema(alerted):
    place, summary = alerted
    rows = place.lakehouse.table("alerts").read().to_pandas().set_index("candid")
    packets, models = packets_of(place), load_models(place.settings.include)
    assert set(packets) == set(rows.index)
    assert len(packets) == summary.alerts > 10
    assert sum(summary.waiting.values()) == len(packets)
    for candid, (message, packet) in packets.items():
        row = rows.loc[candid]
        assert message.key == packet["objectId"] == row.objectid
        assert packet["candid"] == packet["candidate"]["candid"] == candid
        assert hashlib.sha256(message.payload).hexdigest() == row.sha256
        candidate = packet["candidate"]
        assert candidate["isdiffpos"] == ("t" if row.isdiffpos else "f")
        assert candidate["magpsf"] == pytest.approx(row.magpsf)
        assert candidate["nframesref"] >= 4
        assert candidate["jdendref"] >= candidate["jdstartref"]
        for name, model in (("rb", models.features), ("drb", models.images)):
            assert candidate[f"{name}version"] == (model.card.version if model else "none")
            assert (candidate[name] is None) == (model is None)
        assert candidate["ncovhist"] >= 1
        for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
            pixels = fits.getdata(io.BytesIO(gzip.decompress(packet[name]["stampData"])))
            assert max(pixels.shape) <= 63


def test_the_difference_stamp_shows_what_changed(alerted):
    for _, packet in packets_of(alerted[0]).values():
        pixels = fits.getdata(io.BytesIO(gzip.decompress(packet["cutoutDifference"]["stampData"])))
        if pixels.shape == (63, 63) and packet["candidate"]["scorr"] > 15:
            peak = np.unravel_index(np.nanargmax(pixels[26:37, 26:37]), (11, 11))
            assert np.hypot(peak[0] - 5, peak[1] - 5) < 2


def test_a_later_exposure_takes_up_the_name_and_tells_of_the_earlier_one(alerted):
    place = alerted[0]
    rows = place.lakehouse.table("alerts").read().to_pandas()
    packets = packets_of(place)
    first, *later = sorted(rows.expid.unique())
    assert later
    both = set(rows[rows.expid == first].objectid) & set(rows[rows.expid == later[-1]].objectid)
    assert len(both) > 5
    for name in both:
        packet = packets[rows[(rows.objectid == name) & (rows.expid == later[-1])].candid.iloc[0]][1]
        assert packet["candidate"]["ndethist"] >= 2
        earlier = [row["pid"] // 10_000 for row in packet["prv_candidates"]]
        assert first in earlier
    objects = place.lakehouse.table("alert_objects").read().to_pandas()
    assert objects.objectid.is_unique
    assert set(objects.objectid) == set(rows.objectid)
    assert sorted(objects.ordinal) == list(range(len(objects)))


def test_alerts_again_are_the_same(alerted, tmp_path):
    place = copy_of(alerted[0], tmp_path)
    before = {candid: message.payload for candid, (message, _) in packets_of(place).items()}
    assert make_alerts(place.lakehouse, place.settings).alerts == 0
    place.lakehouse.table("alerts").delete({"night": NIGHT})  # as if killed before the commit
    shutil.rmtree(place.settings.outbox_folder)
    summary = make_alerts(place.lakehouse, place.settings)
    assert summary.objects == 0
    assert {candid: message.payload for candid, (message, _) in packets_of(place).items()} == before


def test_what_was_made_keeps_every_critical_relation_of_the_suites(alerted):
    """Relations alone: Great Expectations, which takes 9 ms for each, has tests of its own."""
    place = alerted[0]
    rows = rows_of_night(place.lakehouse, NIGHT, without="check_results")
    others = {name: found for name, (_, found) in rows.items()}
    constants = survey_constants(place.lakehouse, NIGHT, place.settings)
    images = ("references", "reference_sources", "difference_images")
    for name in (*images, "candidates", "alerts", "alert_objects"):
        assert others[name].num_rows
        suite = handwritten_suite(name, place.settings.include)
        joined = add_lookups(to_pandas(others[name]), suite.meta.lookups, others, subject=name)
        for expected in suite.expectations:
            fine = holds(expected.kwargs["relation"], joined, constants)
            assert fine.all() or expected.severity == "warning", (name, expected.description)


def test_lineage_goes_back_to_the_raw_file(alerted):
    place = alerted[0]
    candid = place.lakehouse.table("alerts").read(["candid"])["candid"][0].as_py()
    steps = lineage(place.lakehouse, candid)
    kinds = [step.what for step in steps]
    assert kinds[:4] == ["alert", "candidate", "difference", "science image"]
    assert {"master", "raw file", "reference", "epoch"} <= set(kinds)
    assert kinds.count("epoch") == row_of(place)["nframes"]
    (raw,) = (step for step in steps if step.what == "raw file")
    assert place.lakehouse.storage.exists(raw.detail)
    with pytest.raises(UnusableInputError, match="no such candidate"):
        lineage(place.lakehouse, 1)


def test_a_packet_as_a_picture(alerted):
    _, packet = next(iter(packets_of(alerted[0]).values()))
    assert draw_stamps(packet).startswith(b"\x89PNG")


def archived(place):
    storage = place.lakehouse.storage
    return {name: storage.read_bytes(f"alerts/{name}") for name in storage.children("alerts")}


def test_the_archive_of_a_night_holds_each_packet_once_and_the_public_none_of_partners(alerted, tmp_path):
    place = copy_of(alerted[0], tmp_path)
    rows = place.lakehouse.table("alerts").read().to_pylist()
    private = {row["candid"] for row in rows if row["programid"] != 1}
    assert 0 < len(private) < len(rows)
    summary = archive_alerts(place.lakehouse, place.settings, NIGHT)
    files = archived(place)
    names = [f"ztf_{audience}_{NIGHT}.tar.gz" for audience in ("partnership", "public")]
    assert sorted(files) == ["MD5SUMS", *names]
    assert files["MD5SUMS"].decode() == "".join(
        f"{hashlib.new('md5', files[n], usedforsecurity=False).hexdigest()}  {n}\n" for n in names
    )
    packets = packets_of(place)
    for name, wanted in zip(names, (private, set(packets) - private), strict=True):
        with tarfile.open(fileobj=io.BytesIO(files[name])) as tar:
            found = {int(info.name.removesuffix(".avro")): tar.extractfile(info).read() for info in tar}
        assert found == {candid: packets[candid][0].payload for candid in wanted}
        assert summary.packets[f"alerts/{name}"] == len(wanted)
    again = archive_alerts(place.lakehouse, place.settings, NIGHT)
    assert (again.written, archived(place)) == ((), files)


@pytest.mark.parametrize("put", ["put_file_atomically", "put_bytes_atomically"])
def test_archiving_killed_at_a_write_ends_with_the_same_files(alerted, tmp_path, monkeypatch, put):
    place, whole = copy_of(alerted[0], tmp_path / "a"), copy_of(alerted[0], tmp_path / "b")
    archive_alerts(whole.lakehouse, whole.settings, NIGHT)

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(place.lakehouse.storage), put, killed)
        with pytest.raises(KeyboardInterrupt):
            archive_alerts(place.lakehouse, place.settings, NIGHT)
    archive_alerts(place.lakehouse, place.settings, NIGHT)
    assert archived(place) == archived(whole)


def test_a_night_whose_alerts_are_not_all_made_is_not_archived(planted, alerted, tmp_path):
    place = copy_of(planted[0], tmp_path / "a")
    with pytest.raises(NothingToDoError, match="exposures have not alerted"):
        archive_alerts(place.lakehouse, place.settings, NIGHT)
    lost = copy_of(alerted[0], tmp_path / "b")
    topic = Outbox(lost.settings.outbox_folder).topics()[0]
    next((lost.settings.outbox_folder / topic).glob("*.tar")).unlink()
    with pytest.raises(UnusableInputError, match=r"packets are not in .*run `zsds alerts make`"):
        archive_alerts(lost.lakehouse, lost.settings, NIGHT)
    assert not lost.lakehouse.storage.exists("alerts/MD5SUMS")


def test_without_a_broker_packets_wait(alerted):
    with pytest.raises(NothingToDoError, match=f"{alerted[1].alerts} packets wait"):
        send_alerts(alerted[0].settings)


def test_a_channel_that_comes_late_leaves_the_packets_of_the_others_alone(alerted, any_order, tmp_path):
    place = copy_of(alerted[0], tmp_path)
    before = packets_of(place)
    build_references(place.lakehouse, place.settings, NOW, rcids=[1])
    (row,) = place.lakehouse.table("references").read(where={"rcid": 1, "vbest": 1}).to_pylist()
    ra, dec = row["ra"] + np.array([-0.05, 0.0, 0.05]), row["dec"] + np.array([0.05, 0.0, -0.05])
    with stars_in_the_sky(ra, dec, [2000.0, 2000.0, 2000.0]):
        subtract_references(place.lakehouse, place.settings, config=any_order)
    assert make_alerts(place.lakehouse, place.settings).alerts >= 3
    after = packets_of(place)
    assert set(before) < set(after)
    assert all(after[candid][0] == message for candid, (message, _) in before.items())


def test_another_pass_has_other_numbers_and_alerts_no_more(alerted, any_order, tmp_path):
    place = copy_of(alerted[0], tmp_path)
    alerts = place.lakehouse.table("alerts").read()
    numbers = set(place.lakehouse.table("candidates").read(["candid"])["candid"].to_pylist())
    again = any_order.model_copy(update={"stored_sigma": 3.5})
    assert subtract_references(place.lakehouse, place.settings, config=again).images >= 1
    renewed = set(place.lakehouse.table("candidates").read(["candid"])["candid"].to_pylist())
    assert renewed
    assert not renewed & numbers
    assert make_alerts(place.lakehouse, place.settings).alerts == 0
    assert place.lakehouse.table("alerts").read().equals(alerts)
    kinds = [step.what for step in lineage(place.lakehouse, alerts["candid"][0].as_py())]
    assert kinds[:2] == ["alert", "difference"]


def test_an_exposure_without_its_stamps_is_told_and_the_others_alert(planted, tmp_path):
    place = copy_of(planted[0], tmp_path)
    images = place.lakehouse.table("difference_images").read(["path"]).sort_by("path")["path"].to_pylist()
    gone = images[0].replace("scimrefdiffimg.fits.fz", "alertcutouts.parquet")
    place.lakehouse.storage.delete(gone)
    summary = make_alerts(place.lakehouse, place.settings)
    (failure,) = summary.failed
    assert gone in failure
    assert "is gone" in failure
    assert summary.exposures == len(images) - 1


def test_forced_fluxes_of_planted_stars_are_true(planted):
    """At the places where stars were put in, and at as many where nothing was: unbiased, with true errors."""
    place, ra, dec, flux = planted
    nowhere = np.random.default_rng(6).uniform(-0.09, 0.09, (2, 400))
    ra0, dec0 = ra.mean() + nowhere[0] / np.cos(np.radians(dec[0])), dec.mean() + nowhere[1]
    pulls, blank = [], []
    for row in place.lakehouse.table("difference_images").read().to_pylist():
        work = ForcedWork(row, (*ra, *ra0), (*dec, *dec0), 6.2)
        found = measure_image(work, place.settings, ForcedConfig(), place.lakehouse)
        measured, error, status = (np.array(column) for column in found)
        known = np.isin(status, ["0", "56"])
        assert known.mean() > 0.8
        assert set(status[~known]) <= {"55", "61"}
        pull = np.where(known, (measured - np.concatenate([flux, np.zeros(len(ra0))])) / error, np.nan)
        pulls += [pull[: len(ra)]]
        blank += [pull[len(ra) :]]
    gone = ForcedWork(row | {"path": row["path"].replace("sci/", "sci/not/")}, (1.0, 2.0), (3.0, 4.0), 6.2)
    nothing = measure_image(gone, place.settings, ForcedConfig(), place.lakehouse)
    assert nothing == ([-99999.0] * 2, [-99999.0] * 2, ["64"] * 2)
    for of_places in (np.concatenate(pulls), np.concatenate(blank)):
        some = of_places[np.isfinite(of_places)]
        assert abs(np.median(some)) < 0.5
        assert 0.8 < 1.4826 * np.median(np.abs(some - np.median(some))) < 1.4


def test_a_packet_has_forced_photometry_of_the_nights_before(planted, tmp_path):
    """The first exposure is moved to the night before; the others measure their places on it."""
    place = copy_of(planted[0], tmp_path)
    images = place.lakehouse.table("science_images").read().to_pylist()
    first = min(place.lakehouse.table("difference_images").read(["expid"])["expid"].to_pylist())
    of_first = [row for row in images if row["expid"] == first]
    earlier = [row | {"nid": row["nid"] - 1, "obsjd": row["obsjd"] - 1} for row in of_first]
    place.lakehouse.table("science_images").merge(earlier)
    for table, name in (("difference_images", "obsjd"), ("candidates", "jd")):
        rows = place.lakehouse.table(table).read(where={"expid": first}).to_pylist()
        place.lakehouse.table(table).merge([row | {name: row[name] - 1} for row in rows])
    assert make_alerts(place.lakehouse, place.settings).failed == ()
    _, ra, dec, flux = planted
    pulls = []
    for _, packet in packets_of(place).values():
        candidate = packet["candidate"]
        assert candidate["programpi"]
        if candidate["pid"] // 10_000 == first:
            assert packet["fp_hists"] is None
            continue
        (row,) = packet["fp_hists"]
        assert row["pid"] // 10_000 == first
        assert row["jd"] < candidate["jd"] - 0.9
        assert row["sciinpseeing"] > 1
        assert (row["distnr"] is None) == (row["ranr"] == -99999.0)
        distance = np.hypot((ra - candidate["ra"]) * np.cos(np.radians(dec)), dec - candidate["dec"]) * 3600
        if row["procstatus"] == "0" and distance.min() < 0.5:
            true = flux[distance.argmin()]
            pulls.append((row["forcediffimflux"] - true) / row["forcediffimfluxunc"])
    assert len(pulls) > 10
    assert abs(np.median(pulls)) < 0.8


def test_candidates_of_a_run_that_was_killed_are_no_history(alerted, tmp_path):
    """Their image has no row yet; alerts of other exposures do not stumble over them."""
    place = copy_of(alerted[0], tmp_path)
    first, *_ = sorted(set(place.lakehouse.table("difference_images").read(["pid"])["pid"].to_pylist()))
    place.lakehouse.table("difference_images").delete({"pid": first})
    place.lakehouse.table("alerts").delete({"night": NIGHT})
    summary = make_alerts(place.lakehouse, place.settings)
    assert summary.failed == ()
    assert summary.alerts > 10
    for _, packet in packets_of(place).values():
        if packet["candidate"]["pid"] != first:
            assert first not in {row["pid"] for row in packet["prv_candidates"] or ()}
