"""Headers of the files of a calibrated image: what each carries, and what is refused."""

import io

import numpy as np
import pytest
from astropy.io import fits

from zsds_tasks.pixels.compressed import encode_image
from zsds_tasks.pixels.fits_writer import format_card
from zsds_tasks.products.masks import MaskBit, legend
from zsds_tasks.products.science_headers import CARRIED, EVERYWHERE, KEYWORDS, carried, science_cards
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.sky.wcs import Wcs, from_header
from zsds_tasks.survey.filenames import ScienceSuffix
from zsds_tasks.survey.headers import load_headers

WCS = Wcs(
    crval=(150.0, 20.0),
    crpix=(1536.5, 1540.5),
    cd=((-2.8e-4, 0.0), (0.0, 2.8e-4)),
    east=((0.0, 0.0, 1e-7), (1.0, 2e-6, 0.0), (3e-6, 0.0, 0.0)),
    north=((0.0, 1.0, 0.0), (0.0, 1e-6, 0.0), (0.0, 0.0, 0.0)),
)
VALUES = {
    "EXPID": 30643385, "RCID": 3, "OBSMJD": 58059.43385, "EXPTIME": 30, "FILTER": "ZTF_r", "TOOFLAG": False,
    "MAGZP": np.float32(26.25), "NMATCHES": np.int32(300), "SEEING": 2.0, "MAGLIM": float("nan"),
    "SATURATE": None, "STATUS": 1, "INFOBITS": 0, "APCOR1": -0.5, "FIXAPERS": "2,3,4,6,10,14",
    "PROCVERS": "0123456789ab", "BUNIT": "adu",
}  # fmt: skip


def sample(keyword):
    """Return a value of the kind a keyword wants, as long as they come."""
    return {str: "x" * 64, int: 2**40, float: -1.234567890123456e-100, bool: True}[keyword.kind]


def test_every_card_fits_with_its_comment_whole():
    for keyword in KEYWORDS:
        text = format_card(*keyword.card(0.123456 if keyword.kind is float else 12345)).decode()
        assert keyword.comment in text, keyword.name
        assert len(format_card(*keyword.card(sample(keyword)))) == 80
    names = [keyword.name for keyword in KEYWORDS]
    assert len(set(names)) == len(names)


def test_ztfs_photometric_names_are_all_there():
    wanted = [
        "MAGZP", "MAGZPUNC", "MAGZPRMS", "CLRCOEFF", "CLRCOUNC", "ZPCLRCOV", "PCOLOR", "NMATCHES",
        "ZPMED", "ZPAVG", "ZPRMSALL", "CLRMED", "CLRAVG", "CLRRMS", "FIXAPERS", "MAGLIM", "SEEING",
        "SATURATE", "AIRMASS", "MOONILLF", "MOONALT", "HUMIDITY", "STATUS", "INFOBITS", "FIELDID",
        "CCDID", "QID", "RCID", "FILTERID", "FILTER", "OBSMJD", "OBSJD", "SHUTOPEN", "SHUTCLSD",
        "EXPID", "PROGRMID", "GAIN", "READNOI", "DARKCUR", "SCAMPPTH",
    ]  # fmt: skip
    wanted += [f"APCOR{n}" for n in range(1, 7)] + [f"APCORUN{n}" for n in range(1, 7)]
    image = {keyword.name for keyword in KEYWORDS if ScienceSuffix.IMAGE in keyword.products}
    assert set(wanted) <= image


def test_each_file_takes_what_is_declared_for_it():
    cards = {
        product: dict.fromkeys(name for name, _, _ in science_cards(product, VALUES))
        for product in EVERYWHERE
    }
    assert all("EXPID" in names and "PROCVERS" in names for names in cards.values())
    assert "MAGZP" in cards[ScienceSuffix.PSF_CATALOG]
    assert "MAGZP" not in cards[ScienceSuffix.MASK]
    assert "APCOR1" in cards[ScienceSuffix.APERTURE_CATALOG]
    assert "APCOR1" not in cards[ScienceSuffix.PSF_CATALOG]
    assert "BUNIT" not in cards[ScienceSuffix.MASK]


def test_missing_values_leave_no_card_and_order_is_as_declared():
    names = [name for name, _, _ in science_cards(ScienceSuffix.IMAGE, dict(reversed(VALUES.items())))]
    assert "SATURATE" not in names
    assert "MAGLIM" not in names
    order = [keyword.name for keyword in KEYWORDS]
    assert names == sorted(names, key=order.index)
    assert science_cards(ScienceSuffix.IMAGE, {}) == []


@pytest.mark.parametrize(
    ("values", "wcs", "reason"),
    [
        ({"MAGZPT": 1.0, "RCIT": 3}, None, "unknown keywords: MAGZPT, RCIT"),
        ({}, {"CRVAL3": 1.0}, "unknown keywords: CRVAL3"),
        ({"RCID": 3.5}, None, "RCID is 3.5, not int"),
        ({"STATUS": True}, None, "STATUS is True, not int"),
        ({"MAGZP": "26"}, None, "MAGZP is '26', not float"),
        ({"TOOFLAG": 1}, None, "TOOFLAG is 1, not bool"),
    ],
)
def test_what_is_not_declared_is_refused(values, wcs, reason):
    with pytest.raises(ValueError, match=reason):
        science_cards(ScienceSuffix.IMAGE, values, wcs)


def test_a_file_without_a_declared_header_is_refused():
    with pytest.raises(ValueError, match=r"no header is declared for sciimlog\.txt"):
        science_cards(ScienceSuffix.LOG, {})


def test_the_wcs_comes_back_from_a_written_image():
    cards = science_cards(ScienceSuffix.IMAGE, VALUES, WCS.header())
    data = encode_image(
        np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32), cards, name="IMAGE"
    )
    with fits.open(io.BytesIO(data)) as hdus:
        header = hdus[1].header
        assert from_header(header) == WCS
        assert header["MAGZP"] == 26.25
        assert header.comments["MAGZP"].startswith("[mag]")
        assert header.comments["CRVAL1"].startswith("[deg]")
    assert not [
        name
        for name, _, _ in science_cards(ScienceSuffix.PSF_CATALOG, VALUES, WCS.header())
        if "CRVAL" in name
    ]


def test_a_mask_explains_its_bits():
    cards = science_cards(ScienceSuffix.MASK, VALUES, WCS.header())
    assert [(name, text) for name, text, _ in cards if name.startswith("BIT")] == legend()
    assert ("BIT08", MaskBit.SATURATED.sentence, "") in cards


def test_raw_values_are_carried_by_the_contract_of_the_camera():
    contract = {keyword.keyword for keyword in load_headers("ztf", REPOSITORY / "include").keywords}
    assert set(CARRIED) <= contract
    raw = {"EXPID": 5, "FIELDID": 600, "SATURATE": 58000.0, "NAXIS": 2, "OBSERVER": None, "GAIN": 6.2}
    assert carried(raw) == {"FIELDID": 600, "EXPID": 5, "GAIN": 6.2}
