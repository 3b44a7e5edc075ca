"""Header keywords of the files of a calibrated image: declared once, filled from a dict of values.

Names are ZTF's (reference section 1.9); where it has none for a fact, the name is ours. Missing values leave
no card; unknown names are refused, so that a slip of the pen cannot lose a fact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from zsds_tasks.products.masks import legend
from zsds_tasks.survey.filenames import ScienceSuffix

Value = str | int | float | bool
Card = tuple[str, Value, str]
"""Keyword, value, comment."""

N_APERTURES: Final = 6
ZP_DEGREE: Final = 5  # highest total degree of the spatial term of the zero point
ZP_TERMS: Final = {(n - j, j): f"ZPL{n - j}{j}" for n in range(1, ZP_DEGREE + 1) for j in range(n + 1)}
"""Keyword of the coefficient of P_i(u) P_j(v) by (i, j), degrees in columns and rows."""
PIXELS: Final = frozenset({ScienceSuffix.IMAGE, ScienceSuffix.UNCERTAINTY, ScienceSuffix.MASK})
CATALOGS: Final = frozenset({ScienceSuffix.PSF_CATALOG, ScienceSuffix.APERTURE_CATALOG})
PSF: Final = frozenset({ScienceSuffix.PSF_CENTRE})
EVERYWHERE: Final = PIXELS | CATALOGS | PSF
BRIGHTNESS: Final = EVERYWHERE - {ScienceSuffix.MASK}
APERTURES: Final = frozenset({ScienceSuffix.IMAGE, ScienceSuffix.APERTURE_CATALOG})
"""Files of a calibrated image whose headers are declared here."""


@dataclass(frozen=True)
class Keyword:
    """One keyword.

    Parameters
    ----------
    name, kind : str, type
        Keyword, and type of its value.
    unit, comment : str
        The unit stands in brackets before the comment; empty for none.
    products : frozenset of ScienceSuffix
        Files that carry it.
    carried : bool
        Whether its value is that of the raw header.
    """

    name: str
    kind: type[Value]
    unit: str
    comment: str
    products: frozenset[ScienceSuffix]
    carried: bool = False

    def card(self, value: Value) -> Card:
        """Return the card of a value."""
        return self.name, value, f"[{self.unit}] {self.comment}" if self.unit else self.comment


_Line = tuple[str, type[Value], str, str]

_IDENTITY: tuple[_Line, ...] = (
    ("ORIGIN", str, "", "observatory"),
    ("TELESCOP", str, "", "telescope"),
    ("INSTRUME", str, "", "camera"),
    ("OBSERVER", str, "", "who or what observed"),
    ("FIELDID", int, "", "field of the grid or 0"),
    ("PROGRMID", int, "", "programme"),
    ("PROGRMPI", str, "", "programme PI"),
    ("PROGRMTL", str, "", "programme title"),
    ("NID", int, "", "night of the survey"),
    ("EXPID", int, "", "exposure"),
    ("IMGTYPE", str, "", "image type"),
    ("IMGTYPEC", str, "", "image type letter"),
    ("ITID", int, "", "image type number"),
    ("TOOFLAG", bool, "", "target of opportunity"),
    ("CCDID", int, "", "CCD"),
    ("QID", int, "", "quadrant"),
    ("RCID", int, "", "readout channel"),
    ("AMP_ID", int, "", "amplifier number"),
    ("AMP_NAME", str, "", "amplifier"),
)
_TIME: tuple[_Line, ...] = (
    ("DATE-OBS", str, "", "shutter open (UTC)"),
    ("OBSJD", float, "d", "shutter open (JD)"),
    ("OBSMJD", float, "d", "shutter open (MJD)"),
    ("SHUTOPEN", str, "", "shutter opened (UTC)"),
    ("SHUTCLSD", str, "", "shutter closed (UTC)"),
    ("EXPTIME", float, "s", "requested exposure"),
    ("AEXPTIME", float, "s", "actual exposure"),
)
_POINTING: tuple[_Line, ...] = (
    ("RAD", float, "deg", "requested RA"),
    ("DECD", float, "deg", "requested Dec"),
    ("TELRA", float, "deg", "telescope RA"),
    ("TELDEC", float, "deg", "telescope Dec"),
    ("TELHA", float, "deg", "hour angle"),
    ("AZIMUTH", float, "deg", "telescope azimuth"),
    ("ELVATION", float, "deg", "telescope elevation"),
    ("AIRMASS", float, "", "airmass"),
    ("INST_ROT", float, "deg", "instrument rotator"),
    ("PIXSCALE", float, "arcsec", "nominal pixel scale"),
    ("FOCUSPOS", float, "mm", "focus"),
    ("FILTER", str, "", "filter name"),
    ("FILTERID", int, "", "filter number"),
    ("HUMIDITY", float, "", "humidity (percent)"),
    ("TEMPTURE", float, "deg_C", "outside temperature"),
    ("WINDSPD", float, "km/h", "wind speed"),
    ("PRESSURE", float, "mbar", "air pressure"),
    ("MOONRA", float, "deg", "Moon RA"),
    ("MOONDEC", float, "deg", "Moon Dec"),
    ("MOONALT", float, "deg", "Moon altitude"),
    ("MOONILLF", float, "", "Moon illuminated fraction"),
    ("SUNALT", float, "deg", "Sun altitude"),
)
_DETECTOR: tuple[_Line, ...] = (
    ("GAIN", float, "electron/adu", "gain"),
    ("READNOI", float, "electron", "read noise"),
    ("DARKCUR", float, "electron/s", "dark current"),
)
_PROVENANCE: tuple[_Line, ...] = (
    ("STATUS", int, "", "1 = may be used, 0 = must not"),
    ("INFOBITS", int, "", "conditions as bits; 0 is the cleanest"),
    ("RAWFILE", str, "", "raw frame"),
    ("RAWSHA", str, "", "SHA-256"),
    ("BIASFILE", str, "", "bias subtracted"),
    ("BIASSHA", str, "", "SHA-256"),
    ("FLATFILE", str, "", "flat divided by"),
    ("FLATSHA", str, "", "SHA-256"),
    ("BPIXFILE", str, "", "bad pixels"),
    ("BPIXSHA", str, "", "SHA-256"),
    ("PROCVERS", str, "", "digest of all that decides the result"),
)
_IMAGE: tuple[_Line, ...] = (
    ("SATURATE", float, "adu", "where pixels of this image saturate"),
    ("SEEING", float, "arcsec", "FWHM of stars"),
    ("SKYLEVEL", float, "adu", "median sky"),
    ("SKYNOISE", float, "adu", "median noise of a sky pixel"),
    ("SCAMPPTH", str, "", "path to the astrometric solution"),
    ("ASTNMTCH", int, "", "stars in the astrometric fit"),
    ("ASTRRMS1", float, "arcsec", "astrometric RMS, east"),
    ("ASTRRMS2", float, "arcsec", "astrometric RMS, north"),
)
_PHOTOMETRY: tuple[_Line, ...] = (
    ("MAGZP", float, "mag", "zero point at colour zero, this exposure"),
    ("MAGZPUNC", float, "mag", "its formal error"),
    ("MAGZPRMS", float, "mag", "RMS of the calibrators about the fit"),
    ("CLRCOEFF", float, "", "colour coefficient"),
    ("CLRCOUNC", float, "", "its formal error"),
    ("ZPCLRCOV", float, "", "covariance of MAGZP and CLRCOEFF"),
    ("PCOLOR", str, "", "colour, of the photometric catalogue"),
    ("NMATCHES", int, "", "calibrators in the fit"),
    ("ZPMED", float, "mag", "median zero point, no colour term"),
    ("ZPAVG", float, "mag", "mean zero point, no colour term"),
    ("ZPRMSALL", float, "mag", "RMS about ZPAVG"),
    ("CLRMED", float, "mag", "median colour of the calibrators"),
    ("CLRAVG", float, "mag", "mean colour of the calibrators"),
    ("CLRRMS", float, "mag", "RMS about CLRAVG"),
    ("ZPSCATT", float, "mag", "scatter of calibrators beyond errors"),
    ("ZPCLIP", int, "", "calibrators left out of the fit"),
    ("CLRHELD", bool, "", "CLRCOEFF is the one expected"),
    ("ZPORDER", int, "", "degree of the spatial term; 0: none"),
    ("ZPSPRMS", float, "mag", "RMS of the spatial term of the zero point"),
    *((word, float, "mag", f"of P{i}(u) P{j}(v): -1 to 1 over x, y") for (i, j), word in ZP_TERMS.items()),
    ("MAGLIM", float, "mag", "5-sigma limit for points"),
)
_APERTURE: tuple[_Line, ...] = (
    ("FIXAPERS", str, "pixel", "diameters of the apertures"),
    *((f"APCOR{n}", float, "mag", f"growth-curve correction {n}") for n in range(1, N_APERTURES + 1)),
    *((f"APCORUN{n}", float, "mag", f"its error {n}") for n in range(1, N_APERTURES + 1)),
)


def _declared(
    lines: tuple[_Line, ...], products: frozenset[ScienceSuffix], *, carried: bool = False
) -> Iterator[Keyword]:
    return (Keyword(*line, products, carried) for line in lines)


KEYWORDS: Final = (
    Keyword(
        "BUNIT", str, "", "unit of the pixels", frozenset({ScienceSuffix.IMAGE, ScienceSuffix.UNCERTAINTY})
    ),
    *_declared(_IDENTITY, EVERYWHERE, carried=True),
    *_declared(_TIME, EVERYWHERE, carried=True),
    *_declared(_POINTING, EVERYWHERE, carried=True),
    *_declared(_DETECTOR, EVERYWHERE, carried=True),
    Keyword("MJD-OBS", float, "d", "shutter open (MJD), the standard's name", EVERYWHERE),
    Keyword("NIGHT", str, "", "observing night", EVERYWHERE),
    Keyword("PID", int, "", "product", EVERYWHERE),
    *_declared(_PROVENANCE, EVERYWHERE),
    *_declared(_IMAGE, BRIGHTNESS),
    *_declared(_PHOTOMETRY, BRIGHTNESS),
    *_declared(_APERTURE, APERTURES),
)
"""All of them, in the order of the header."""
CARRIED: Final = tuple(keyword.name for keyword in KEYWORDS if keyword.carried)
"""Those whose values are copied from the raw header."""

_BY_NAME = {keyword.name: keyword for keyword in KEYWORDS}
_WCS_COMMENTS: Final = {
    "CTYPE": "projection of the axis",
    "CUNIT": "unit of the axis",
    "RADESYS": "reference frame",
    "EQUINOX": "equinox of the frame",
    "LONPOLE": "[deg] native longitude of the celestial pole",
    "CRVAL": "[deg] place of the reference pixel",
    "CRPIX": "[pixel] reference pixel",
    "CD": "[deg/pixel] matrix",
    "PV": "distortion (TPV)",
}
_WCS_NAME = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX)[12]|(CD)[12]_[12]|(PV)[12]_[0-9]{1,2}|(RADESYS|EQUINOX|LONPOLE)"
)


def carried(raw: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return the values that the products repeat; those that the raw headers, joined, lack are left out."""
    found = {name: raw.get(name) for name in CARRIED}
    return {name: value for name, value in found.items() if value is not None}


def science_cards(
    product: ScienceSuffix,
    values: Mapping[str, Value | None],
    wcs: Mapping[str, str | float] | None = None,
) -> list[Card]:
    """Return the header of one file of a calibrated image.

    Parameters
    ----------
    product : ScienceSuffix
    values : Mapping of keyword to value
        One dict serves all files: each takes what is declared for it. None and numbers that are not finite
        leave no card.
    wcs : Mapping, optional
        From `zsds_tasks.sky.wcs.Wcs.header`; goes into images, not into catalogues.

    Returns
    -------
    list of Card
        In declared order; a mask ends with the meaning of its bits.

    Raises
    ------
    ValueError
        If a file has no declared header, or a name is unknown, or a value of the wrong type; names all.
    """
    if product not in EVERYWHERE:
        raise ValueError(f"no header is declared for {product}")
    unknown = [name for name in values if name not in _BY_NAME]
    unknown += [name for name in wcs or () if _WCS_NAME.fullmatch(name) is None]
    if unknown:
        raise ValueError(f"unknown keywords: {', '.join(sorted(unknown))}")
    wrong = [name for name, value in values.items() if not _is_of(_BY_NAME[name].kind, value)]
    if wrong:
        texts = (f"{name} is {values[name]!r}, not {_BY_NAME[name].kind.__name__}" for name in sorted(wrong))
        raise ValueError("; ".join(texts))
    cards = [
        keyword.card(value)
        for keyword in KEYWORDS
        if product in keyword.products and (value := _known(values.get(keyword.name))) is not None
    ]
    if wcs and product in PIXELS:
        cards += [(name, value, _wcs_comment(name)) for name, value in wcs.items()]
    if product is ScienceSuffix.MASK:
        cards += [(name, sentence, "") for name, sentence in legend()]
    return cards


def _is_of(kind: type[Value], value: Value | None) -> bool:
    """Whether a value is of a kind, or None; whole numbers pass as floats, NumPy's scalars as Python's."""
    if value is None:
        return True
    plain = value.item() if hasattr(value, "item") else value
    if kind is float:
        return isinstance(plain, int | float) and not isinstance(plain, bool)
    return type(plain) is kind


def _known(value: Value | None) -> Value | None:
    """Return a value, None for a number that is not finite."""
    if value is None or isinstance(value, str):
        return value
    return value if math.isfinite(value) else None


def _wcs_comment(name: str) -> str:
    match = _WCS_NAME.fullmatch(name)
    stem = next(group for group in match.groups() if group) if match else ""
    return _WCS_COMMENTS.get(stem, "")
