"""What the solver is given: detections, catalogue stars, and where the quadrant should look."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.science.astrometry.distortion import DistortionModel
from zsds_tasks.sky import tangent

Floats = NDArray[np.float64]
J2000_MJD = 51_544.5
DAYS_PER_YEAR = 365.25
MAS_PER_RADIAN = tangent.ARCSEC_PER_RADIAN * 1e3


class Cause(StrEnum):
    """Why there is no solution; the fact `cause` of the error."""

    NOT_FINITE = "not_finite"
    TOO_FEW_SOURCES = "too_few_sources"
    CATALOG_EMPTY = "catalog_empty"
    NO_PEAK = "no_peak"
    TOO_FEW_MATCHES = "too_few_matches"
    RESIDUALS_TOO_LARGE = "residuals_too_large"


@dataclass(frozen=True)
class DetectedSources:
    """Sources of one image, one row each.

    Parameters
    ----------
    x, y : (N) float64, FITS 1-based pixels
    x_error, y_error : (N) float64, pixels, positive
    flux, flux_error : (N) float64, any unit, errors positive
    flags : (N) int64
        Mask bits under the source; -1 at the edge of the image.
    """

    x: Floats
    y: Floats
    x_error: Floats
    y_error: Floats
    flux: Floats
    flux_error: Floats
    flags: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check_lengths(self)

    def __len__(self) -> int:
        return len(self.x)

    def check(self, subject: str) -> None:
        """Refuse values that no detection can have.

        Raises
        ------
        UnusableInputError
            Naming the column and how many rows.
        """
        for name in ("x", "y", "x_error", "y_error", "flux", "flux_error"):
            values = getattr(self, name)
            bad = ~np.isfinite(values) | ((values <= 0) if name.endswith("error") else False)
            _refuse("sources", name, bad, subject)


@dataclass(frozen=True)
class ReferenceStars:
    """Stars of an astrometric catalogue, one row each; parallaxes are ignored.

    Parameters
    ----------
    ra, dec : (N) float64, degrees, ICRS at `epoch_yr`
    pmra, pmdec : (N) float64, mas per year, pmra with the cosine of the declination
        NaN where the catalogue has none (Gaia's two-parameter solutions): taken as zero.
    mag : (N) float64
        Used only to begin with the brightest.
    epoch_yr : float
        Julian year of the positions.
    """

    ra: Floats
    dec: Floats
    pmra: Floats
    pmdec: Floats
    mag: Floats
    epoch_yr: float

    def __post_init__(self) -> None:
        _check_lengths(self)

    def __len__(self) -> int:
        return len(self.ra)

    def check(self, subject: str) -> None:
        """Refuse values that no catalogue row can have.

        Raises
        ------
        UnusableInputError
            Naming the column and how many rows.
        """
        for name in ("ra", "dec", "mag"):
            _refuse("catalogue", name, ~np.isfinite(getattr(self, name)), subject)
        for name in ("pmra", "pmdec"):
            _refuse("catalogue", name, np.isinf(getattr(self, name)), subject)

    def at(self, mjd: float) -> tuple[Floats, Floats]:
        """Return ra and dec (deg) at an instant; stars move straight along their tangents, also at a pole."""
        years = (mjd - J2000_MJD) / DAYS_PER_YEAR + 2000.0 - self.epoch_yr
        east = np.nan_to_num(self.pmra) * years / MAS_PER_RADIAN
        north = np.nan_to_num(self.pmdec) * years / MAS_PER_RADIAN
        ra, dec = np.radians(self.ra), np.radians(self.dec)
        sin_a, cos_a, sin_d, cos_d = np.sin(ra), np.cos(ra), np.sin(dec), np.cos(dec)
        along = cos_d - north * sin_d
        x, y, z = along * cos_a - east * sin_a, along * sin_a + east * cos_a, sin_d + north * cos_d
        return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


@dataclass(frozen=True)
class Pointing:
    """Where the telescope believes to look: boresight, and position angle of camera north; degrees."""

    ra: float
    dec: float
    rotation_deg: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        """Right ascension and declination."""
        return self.ra, self.dec

    def turned(self, angle_deg: float) -> Pointing:
        """Return the same boresight with the camera turned."""
        return Pointing(self.ra, self.dec, self.rotation_deg + angle_deg)


@dataclass(frozen=True)
class QuadrantView:
    """One image to be solved, without its pixels.

    Parameters
    ----------
    subject : str
        What errors name: the file.
    pointing : Pointing
    mjd : float
        UTC of mid-exposure.
    nominal : DistortionModel
        The camera as drawn; scale, rotation and pointing are judged against it.
    prior : DistortionModel, optional
        The camera as earlier solutions found it; the nominal one when there is none.
    """

    subject: str
    pointing: Pointing
    mjd: float
    nominal: DistortionModel
    prior: DistortionModel | None = None

    @property
    def model(self) -> DistortionModel:
        """The best that is known before solving."""
        return self.nominal if self.prior is None else self.prior

    @property
    def centre(self) -> tuple[float, float]:
        """Expected place (ra, dec; deg) of the middle of the image."""
        east, north = self.model.camera_frame(*self.model.middle)
        ra, dec = tangent.deproject(east, north, self.pointing.centre, self.pointing.rotation_deg)
        return float(ra), float(dec)

    def search_radius_deg(self, margin_arcsec: float) -> float:
        """Radius around `centre` in which catalogue rows are needed, with a margin for the search."""
        (x, y), model = self.model.middle, self.model
        east, north = model.camera_frame(np.array([x, 1.0, model.nx]), np.array([y, 1.0, model.ny]))
        half = max(np.hypot(east[1:] - east[0], north[1:] - north[0]))
        return float(half + margin_arcsec) / 3600.0


def _check_lengths(table: DetectedSources | ReferenceStars) -> None:
    sizes = {f.name: np.shape(getattr(table, f.name)) for f in fields(table) if f.name != "epoch_yr"}
    if len(set(sizes.values())) != 1 or any(len(shape) != 1 for shape in sizes.values()):
        raise ValueError(f"{type(table).__name__} needs columns of one length, got {sizes}")


def _refuse(table: str, column: str, bad: NDArray[np.bool_], subject: str) -> None:
    if n_bad := int(np.count_nonzero(bad)):
        raise UnusableInputError(
            f"{n_bad} of {len(bad)} {table} have no usable {column}, the first in row {int(np.argmax(bad))}",
            subject=subject,
            remedy=f"leave these rows out or mend {column}",
            cause=str(Cause.NOT_FINITE),
        )
