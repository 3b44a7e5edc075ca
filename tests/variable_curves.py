"""Light curves of the simulator's variables as ZTF would see them, and the real RR Lyrae of Stripe 82."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from zsds_tasks.science.variability.curves import LightCurves
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.simulator.sky.variables import (
    Variability,
    VariableClass,
    VariablesConfig,
    brightness_changes,
)

KINDS = (VariableClass.ECLIPSING, VariableClass.RR_LYRAE)


@dataclass(frozen=True)
class Sample:
    """Light curves with what is known of them.

    Parameters
    ----------
    curves : LightCurves
    bands : (E) int
    period : (N) float64
    kind : (N) object
        A name.
    """

    curves: LightCurves
    bands: np.ndarray
    period: np.ndarray
    kind: np.ndarray


def variables(seed: int, count: int, epochs: tuple[int, int] = (60, 300), kinds: tuple = KINDS) -> Sample:
    """Draw variables in g and r: 1 to 3 exposures a night, in the season, over 1 to 2 years.

    Errors are a fifth to a thirtieth of the amplitude, between 0.01 and 0.15 mag.
    """
    config = VariablesConfig.model_validate(
        yaml.safe_load((REPOSITORY / "include/config/simulator.yaml").read_text())["variables"]
    )
    random = np.random.default_rng(seed)
    kind = random.choice(kinds, count)
    columns, period = [], np.empty(count)
    for k in range(count):
        model = config.of(VariableClass(int(kind[k])))
        period[k] = 10 ** random.uniform(*model.log_period_range)
        amplitude, width = random.uniform(*model.amplitude_range), random.uniform(0.06, 0.2)
        t, band = cadence(random, int(random.integers(epochs[0], epochs[1] + 1)), random.uniform(1.0, 2.0))
        one = [np.array([value]) for value in (period[k], amplitude, random.random(), random.random(), width)]
        star = Variability(np.zeros(1, int), kind[k : k + 1].astype(np.int8), *one)
        change = [brightness_changes(config, star, at)[b - 1, 0] for at, b in zip(t, band, strict=True)]
        sigma = min(0.15, amplitude / random.uniform(5.0, 30.0))
        error = np.maximum(0.01, sigma * random.uniform(0.8, 1.2, len(t)))
        mag = 17.0 + 0.5 * band + np.array(change) + error * random.normal(size=len(t))
        columns.append((t, mag, error, band))
    names = np.array([VariableClass(int(code)).name.lower() for code in kind])
    return _sample(columns, period, names)


def cadence(random: np.random.Generator, n: int, years: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and bands of n exposures."""
    nights = np.arange(int(365 * years))
    season = np.cos(2 * np.pi * (nights - random.uniform(0, 365)) / 365.25) > -0.35
    t: list[float] = []
    band: list[int] = []
    for night in random.permutation(nights[season & (random.random(len(nights)) < 0.75)]):
        shots = random.integers(1, 4)
        t += [58300.3 + night + hour for hour in random.uniform(-0.17, 0.17, shots)]
        band += random.choice([1, 2], shots).tolist()
        if len(t) >= n:
            break
    order = np.argsort(t[:n])
    return np.array(t[:n])[order], np.array(band[:n])[order]


def stripe_82(folder: Path, every: int, start: int = 0) -> Sample:
    """Read real RR Lyrae in ugriz with published periods (Sesar et al. 2010), each of `every`."""
    folder = folder / "lightcurves"
    table = pq.read_table(folder / "s82_rrlyrae_lightcurves.parquet")
    known = pq.read_table(folder / "s82_rrlyrae_periods.parquet").slice(start)
    column = {name: table[name].to_numpy() for name in ("name", "time", "mag", "magerr", "band")}
    band = np.array(["ugriz".index(letter) for letter in column["band"]])
    columns = []
    for name in known["name"].to_numpy()[::every]:
        rows = column["name"] == name
        columns.append((column["time"][rows], column["mag"][rows], column["magerr"][rows], band[rows]))
    kinds = np.array(["rr_" + letter for letter in known["rr_type"].to_pylist()[::every]])
    return _sample(columns, known["period_d"].to_numpy()[::every], kinds)


def _sample(columns: list, period: np.ndarray, kind: np.ndarray) -> Sample:
    t, mag, error, band = (np.concatenate(part) for part in zip(*columns, strict=True))
    offsets = np.concatenate([[0], np.cumsum([len(one[0]) for one in columns])])
    return Sample(LightCurves(t, mag, error, np.zeros(len(t), np.uint16), offsets), band, period, kind)
