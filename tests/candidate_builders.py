"""One invented image as truth lists it, and candidates as a difference would leave them."""

from __future__ import annotations

import numpy as np

from zsds_tasks.simulator.candidate_changes import ReferenceSky, changes_of, flux_of
from zsds_tasks.simulator.candidate_reader import ImageTruth

SCALE = 1.0 / 3600
MIDDLE = (150.0, 20.0)
EXPOSURE = {"exptime_s": 30.0, "rotation_deg": 0.0, "seeing_fwhm_arcsec": 2.0}
DEFECTS = {"kind": np.array([], dtype=str), "x": np.zeros(0), "y": np.zeros(0)}
ARTEFACTS = {"kind": np.array([], dtype=str)} | {
    name: np.zeros(0) for name in ("x", "y", "x_end", "y_end", "radius")
}


def sky(x, y):
    """Where pixels of 1 arcsec are; x to the west."""
    dec = MIDDLE[1] + (np.asarray(y, float) - 500) * SCALE
    return MIDDLE[0] - (np.asarray(x, float) - 500) * SCALE / np.cos(np.radians(dec)), dec


def sources(*rows):
    """Rows of truth: (object_id, kind, x, y, mag) and perhaps a rate to the east, arcsec per second."""
    wide = [(*row, 0.0)[:6] for row in rows]
    object_id, kind, x, y, mag, rate = zip(*wide, strict=True) if wide else ((),) * 6
    ra, dec = sky(x, y)
    return {
        "object_id": np.array(object_id, np.int64),
        "kind": np.array(kind, dtype=str),
        "x": np.array(x, float),
        "y": np.array(y, float),
        "ra": ra,
        "dec": dec,
        "mag": np.array(mag, float),
        "natural": flux_of(mag),
        "rate_east": np.array(rate, float),
        "rate_north": np.zeros(len(wide)),
    }


def image_truth(now, epochs, *, artefacts=ARTEFACTS, defects=DEFECTS, full=()):
    """The truth of one image, from its sources and those of each epoch of its reference."""
    names = ("object_id", "kind", "ra", "dec", "mag", "natural")
    rows = {name: np.concatenate([epoch[name] for epoch in epochs]) for name in names}
    reference = ReferenceSky.of_epochs(rows, len(epochs))
    more = {"flux": flux_of(now["mag"]), "saturated": np.isin(now["object_id"], full)}
    passing = {"ra": reference.passing_ra, "dec": reference.passing_dec, "flux": reference.passing_flux}
    changes = changes_of(now, reference, EXPOSURE)
    return ImageTruth(changes, now | more, artefacts, defects, passing, EXPOSURE)


def found(*rows):
    """Candidates: (x, y, magpsf, is positive)."""
    x, y, mag, positive = zip(*rows, strict=True)
    ra, dec = sky(x, y)
    return {
        "xpos": np.array(x, float),
        "ypos": np.array(y, float),
        "ra": ra,
        "dec": dec,
        "magpsf": np.array(mag, float),
        "isdiffpos": np.array(positive),
        "mindtoedge": np.minimum(np.array(x, float), np.array(y, float)),
    }
