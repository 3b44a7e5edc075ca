"""Which model of ghosts and halos masks a night: the last accepted one of an earlier night, or the prior."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.masking.ghost_model import GhostMap, GhostModel
from zsds_tasks.steps.ghosts.configuration import GhostsConfig, load_ghosts_config
from zsds_tasks.survey.nights import ObservingNight

TABLE = "ghost_models"
Row = dict[str, Any]


@dataclass(frozen=True)
class GhostChoice:
    """A model and why it is this one.

    Parameters
    ----------
    model : GhostModel
    reason : str
        In words.
    """

    model: GhostModel
    reason: str


def ghost_model_for(
    lakehouse: Lakehouse, fid: int, night: str, *, config: GhostsConfig | None = None
) -> GhostChoice:
    """Choose the model with which a night's images in a filter are masked.

    It never comes from the night itself, whose model is fitted to its masked images: so a night that is
    processed again is masked the same.

    Parameters
    ----------
    lakehouse : Lakehouse
    fid : int
    night : str
        YYYYMMDD.
    config : GhostsConfig, optional
        By default that of ``include/config/ghosts.yaml``; its `validity_days` bound the search.
    """
    config = config or load_ghosts_config(lakehouse.include)
    date = ObservingNight.parse(night).date
    first = str(ObservingNight(date - dt.timedelta(days=config.validity_days)))
    rows = lakehouse.table(TABLE).read(where={"fid": fid, "night": (first, night)}).to_pylist()
    usable = [row for row in rows if row["accepted"]]
    if not usable:
        refused = f", {len(rows)} refused" if rows else ""
        return GhostChoice(
            config.prior, f"the prior: no accepted model within {config.validity_days} days before{refused}"
        )
    row = max(usable, key=lambda row: row["night"])
    return GhostChoice(model_of(row), f"fitted to night {row['night']}")


def row_of_model(model: GhostModel) -> Row:
    """Return the columns that hold a model."""
    n = len(model.shape.values)
    return {
        "axis_east": model.axis.real,
        "axis_north": model.axis.imag,
        "offset_east": model.offset.real,
        "offset_north": model.offset.imag,
        "factor_real": model.factor.real,
        "factor_imag": model.factor.imag,
        "scale": model.scale,
        "rotation": model.rotation_deg,
        "covariance": model.covariance.ravel().tolist(),
        "scatter": model.scatter_arcsec,
        "outer_radius": model.outer_arcsec,
        "inner_radius": model.inner_arcsec,
        "flux_ratio": model.flux_ratio,
        "map_cell": model.shape.cell_arcsec,
        "map_side": n,
        "map_values": model.shape.values.ravel(),
        "halo_radius": model.halo_radius_arcsec,
        "halo_radius_sigma": model.halo_radius_sigma_arcsec,
        "halo_flux_ratio": model.halo_flux_ratio,
    }


def model_of(row: Row) -> GhostModel:
    """Return the model of a row of `ghost_models`."""
    side = row["map_side"]
    return GhostModel(
        axis=complex(row["axis_east"], row["axis_north"]),
        offset=complex(row["offset_east"], row["offset_north"]),
        factor=complex(row["factor_real"], row["factor_imag"]),
        covariance=np.array(row["covariance"], np.float64).reshape(4, 4),
        scatter_arcsec=row["scatter"],
        outer_arcsec=row["outer_radius"],
        inner_arcsec=row["inner_radius"],
        flux_ratio=row["flux_ratio"],
        shape=GhostMap(np.array(row["map_values"], np.float32).reshape(side, side), row["map_cell"]),
        halo_radius_arcsec=row["halo_radius"],
        halo_radius_sigma_arcsec=row["halo_radius_sigma"],
        halo_flux_ratio=row["halo_flux_ratio"],
        source=row["night"],
    )
