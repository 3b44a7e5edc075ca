"""Known asteroids: what a night of a million orbits costs, and how far two-body places drift; docs/alerts.md.

    python tests/benchmarks/bench_known.py [orbits]

The drift is against JPL Horizons and needs the real data: ZSDS_DATA.
"""

import os
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 - the path comes first

from zsds_tasks.sky import almanac, ephemeris  # noqa: E402 - as above
from zsds_tasks.sky.ephemeris import OBLIQUITY_DEG, Orbits  # noqa: E402 - as above
from zsds_tasks.sky.horizon import Observer  # noqa: E402 - as above
from zsds_tasks.sky.tangent import separation_deg  # noqa: E402 - as above

PALOMAR = Observer(33.357, -116.86, 1707.0)
OBSERVERS = {"X05": Observer(-30.2446, -70.7494, 2663.0), "W84": Observer(-30.169, -70.8064, 2207.0)}
MIDNIGHT = 60990.35


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def belt(n):
    random = np.random.default_rng(1)
    shape = random.uniform(2.1, 3.3, n), np.minimum(random.rayleigh(0.11, n), 0.9), random.rayleigh(7, n)
    angles = random.uniform(0, 360, (3, n))
    return Orbits(np.full(n, 61000.0), *shape, *angles, random.uniform(9, 18, n), np.full(n, 0.15))


def core(work):
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def cost(n):
    orbits = belt(n)
    places, night = core(lambda: almanac.coarse_places(orbits, MIDNIGHT, PALOMAR))
    rows, choice = core(lambda: almanac.may_be_near(places, 0.2, (20.0, 9.0), 4.0))
    _, exact = core(lambda: ephemeris.observe(orbits.take(rows), MIDNIGHT + 0.2, PALOMAR))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    say(f"| {n:,} orbits, once a night | {night:.2f} core-s, peak {peak:.2f} GB with the orbits |")
    say(f"| an exposure: {len(rows):,} may be near, exact ephemeris | {choice:.3f} + {exact:.3f} core-s |")


def icrs(row, names):
    x, y, z = (row[name] for name in names)
    angle = np.radians(OBLIQUITY_DEG)
    return np.array([[x, y * np.cos(angle) - z * np.sin(angle), y * np.sin(angle) + z * np.cos(angle)]])


def drift(folder):
    import pyarrow.parquet as pq

    states = pq.read_table(folder / "horizons_state_vectors.parquet").to_pylist()
    bodies = {row["orbit_id"]: row for row in states}
    found = {}
    for row in pq.read_table(folder / "horizons_ephemerides.parquet").to_pylist():
        body = bodies[row["orbit_id"]]
        position, velocity = icrs(body, ("x_au", "y_au", "z_au")), icrs(body, ("vx", "vy", "vz"))
        try:
            orbit = ephemeris.elements(position, velocity, body["epoch_mjd"], row["H"], row["G"])
        except ValueError:
            continue  # an interstellar visitor is among them
        seen = ephemeris.observe(orbit, row["mjd_utc"], OBSERVERS[row["observatory_code"]])
        apart = separation_deg(seen.ra, seen.dec, row["RA"], row["DEC"])[0] * 3600
        days = abs(row["mjd_utc"] - body["epoch_mjd"])
        found.setdefault(row["orbit_id"], []).append((days, apart, seen.distance_au[0]))
    for body, points in sorted(found.items()):
        days, apart, distance = max(points)
        say(f"| orbit {body}, {distance:.1f} au away | {days:.0f} days from its epoch: {apart:.2f} arcsec |")


def main():
    cost(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    if os.environ.get("ZSDS_DATA"):
        drift(Path(os.environ["ZSDS_DATA"]) / "solar_system")


if __name__ == "__main__":
    main()
