"""Fit the reflections of a night: the work list is a query, doing it twice changes nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import time
from typing import Any

import numpy as np

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.masking.ghost_fit import ReflectionFit, fit_reflections
from zsds_tasks.settings import Settings
from zsds_tasks.steps.ghosts.collect import STAMPS, Row, stamp_of
from zsds_tasks.steps.ghosts.configuration import STAGE, GhostsConfig, load_ghosts_config
from zsds_tasks.steps.ghosts.selection import TABLE, row_of_model
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight

KEY = ("expid", "rcid", "kind", "star_id")


@dataclasses.dataclass(frozen=True)
class GhostSummary:
    """What came of fitting the reflections of a night.

    Parameters
    ----------
    night : str
    fitted : int
        Filters fitted now.
    accepted : tuple of str
        Those whose ghosts or halos may be used.
    refused : tuple of str
        What was refused, each with its reason.
    seconds : float
    processing_version : str
    reason : str
        Why nothing was to be done; empty if something was.
    """

    night: str
    fitted: int
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    seconds: float
    processing_version: str
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"accepted": list(self.accepted), "refused": list(self.refused)}


def fit_ghosts(
    lakehouse: Lakehouse,
    settings: Settings,
    night: str,
    now: dt.datetime,
    *,
    config: GhostsConfig | None = None,
) -> GhostSummary:
    """Fit every filter of which a night has cut-outs that its model has not yet seen.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Names the camera.
    night : str
        YYYYMMDD.
    now : datetime.datetime
        UTC; written into the rows.
    config : GhostsConfig, optional
        By default that of ``include/config/ghosts.yaml``.

    Returns
    -------
    GhostSummary
        A refused model is no failure: its row says why, and the prior or an older one goes on serving.
    """
    night = str(ObservingNight.parse(night))
    config = config or load_ghosts_config(settings.include)
    started = time.perf_counter()
    camera = load_camera(settings.camera, settings.include)
    version = processing_version(STAGE, config, [camera.model_dump_json()])
    keys = lakehouse.table(STAMPS).read([*KEY, "fid", "processing_version"], {"night": night}).to_pylist()
    known = {row["fid"]: row for row in lakehouse.table(TABLE).read(where={"night": night}).to_pylist()}
    rows: list[Row] = []
    for fid in sorted({row["fid"] for row in keys}):
        digest = _digest([row for row in keys if row["fid"] == fid])
        old = known.get(fid)
        if old and (old["inputs_digest"], old["processing_version"]) == (digest, version):
            continue
        found = lakehouse.table(STAMPS).read(where={"night": night, "fid": fid}).to_pylist()
        fit = fit_reflections([stamp_of(row) for row in found], config.prior, config.fit, night)
        rows.append(
            _row(fit)
            | {
                "night": night,
                "fid": fid,
                "inputs_digest": digest,
                "fitted_at": now,
                "processing_version": version,
            }
        )
    if rows:
        lakehouse.table(TABLE).merge(rows)
    idle = "every model is fitted" if keys else "no cut-outs of ghosts or halos"
    return GhostSummary(
        night,
        len(rows),
        tuple(f"filter {row['fid']}" for row in rows if row["accepted"]),
        tuple(f"filter {row['fid']}: {row['reason']}" for row in rows if row["reason"]),
        time.perf_counter() - started,
        version,
        "" if rows else idle,
    )


def _digest(rows: list[Row]) -> str:
    text = "\n".join(" ".join(str(row[n]) for n in (*KEY, "processing_version")) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _row(fit: ReflectionFit) -> Row:
    model, ring, halo = fit.model, fit.ring, fit.halo
    sigma = np.sqrt(np.diag(model.covariance))
    parts = (("ghosts", fit.ghosts), ("halos", fit.halos))
    used = fit.ghosts.accepted
    return row_of_model(model) | {
        "offset_east_sigma": sigma[0],
        "offset_north_sigma": sigma[1],
        "scale_sigma": sigma[2],
        "rotation_sigma": np.degrees(sigma[3] / model.scale),
        "outer_radius_sigma": ring.outer_sigma if ring and used else None,
        "inner_radius_sigma": ring.inner_sigma if ring and used else None,
        "flux_ratio_sigma": ring.flux_ratio_sigma if ring and used else None,
        "halo_flux_ratio_sigma": halo.flux_ratio_sigma if halo and fit.halos.accepted else None,
        "n_stamps": fit.n_stamps,
        "n_ghosts": fit.n_ghosts,
        "n_places": fit.n_places,
        "n_halos": halo.n_halos if halo else 0,
        "ghosts_accepted": used,
        "halos_accepted": fit.halos.accepted,
        "accepted": used or fit.halos.accepted,
        "reason": "; ".join(f"{name}: {v.reason}" for name, v in parts if not v.accepted),
    }
