import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instrument_builders import configuration, make_instrument, small_camera

from zsds_tasks.simulator.instrument import readout
from zsds_tasks.simulator.instrument.cosmic_rays import add_tracks, draw_tracks
from zsds_tasks.simulator.instrument.detector import BAD_KINDS, full_well_electrons
from zsds_tasks.simulator.randomness import generator

COSMIC = configuration().instrument.cosmic_rays


@pytest.mark.parametrize("level", [0.0, 30.0, 500.0, 2e5])
def test_collected_charge_has_the_moments_of_a_poisson_count_read_with_noise(level):
    n, noise = (600, 700), 9.0
    light = np.full(n, level, np.float32)
    normal = np.random.default_rng(2).standard_normal(n, np.float32)
    readout.collect(light, np.ones(n, np.float32), normal, np.array([noise, noise]), True)
    variance = level + noise**2
    count = light.size
    assert light.mean(dtype=float) == pytest.approx(level, abs=5 * np.sqrt(variance / count))
    # The skew term adds (m / s^2)^2 / 18 electrons^2 of variance: under 0.1 % of the noise.
    assert light.var(dtype=float) == pytest.approx(variance, rel=0.01)
    skew = (((light - level) / np.sqrt(variance)) ** 3).mean(dtype=float)
    assert skew == pytest.approx(level / variance**1.5, abs=0.02)


def test_without_noise_only_the_mean_remains():
    light, response = np.full((3, 4), 100.0, np.float32), np.full((3, 4), 0.5, np.float32)
    readout.collect(light, response, np.ones((3, 4), np.float32), np.array([9.0, 9.0]), False)
    assert (light == 50).all()


def test_smooth_maps_are_interpolated_between_their_nodes():
    step, ny, nx = readout.GRID_STEP, 41, 57
    row, column = np.mgrid[0 : ny // step + 2, 0 : nx // step + 2] * float(step)
    light = np.ones((ny - 7, nx), np.float32)
    smooth, through = (2 * row + 3 * column).astype(np.float32), (1 + row / 100).astype(np.float32)
    readout.illuminate(light, smooth, through, 7, 5.0)
    y, x = np.mgrid[7:ny, 0:nx]
    assert light == pytest.approx((1 + 2 * y + 3 * x) * (1 + y / 100) + 5, rel=1e-5)


@given(
    rows=st.lists(st.tuples(st.integers(30, 69), st.floats(1e3, 3e6)), min_size=1, max_size=6),
)
@settings(max_examples=60)
def test_bleeding_keeps_all_charge_and_leaves_no_pixel_over_full(rows):
    electrons = np.full((400, 6), 200.0, np.float32)
    for row, charge in rows:
        electrons[row + 150, 2] += charge
    before = electrons.sum(dtype=float)
    well = np.full((2, 2), 3.6e5)
    filled = readout.bleed(electrons, well)
    assert electrons.sum(dtype=float) == pytest.approx(before, rel=1e-6)
    assert electrons.max() <= 3.6e5 * (1 + 1e-6)
    assert (electrons[:, [0, 1, 3, 4, 5]] == 200).all()
    assert (filled > 0) == (sum(charge for _, charge in rows) > 3.6e5 - 200 and filled > 0)


def test_a_bleed_is_symmetric_crosses_the_middle_and_spills_over_the_edge():
    electrons = np.zeros((100, 4), np.float32)
    electrons[50, 1] = 11 * 1000.0
    readout.bleed(electrons, np.full((2, 2), 1000.0))
    assert (electrons[45:56, 1] == 1000).all()
    assert electrons.sum() == 11000
    electrons[0, 3] = 5000.0
    readout.bleed(electrons, np.full((2, 2), 1000.0))
    assert electrons[:, 3].sum() == 3000  # half of the excess left through the edge


@given(dn=st.floats(0, 60000), a=st.floats(-1.6e-11, -1e-12), b=st.floats(-1e-7, 1e-6))
@settings(max_examples=100)
def test_the_written_counts_obey_the_linearity_law(dn, a, b):
    gain, counts = 6.2, np.zeros((1, 1), np.uint16)
    zero = np.zeros(1)
    readout.digitise(
        np.full((1, 1), dn * gain, np.float32), counts, np.array([gain, a, b]), zero, zero, zero, zero
    )
    x = float(counts[0, 0])
    if x < 65535:
        assert x / (a * x * x + b * x + 1) == pytest.approx(dn, abs=0.6)


def test_counts_are_rounded_and_clipped():
    counts, zero = np.zeros((1, 4), np.uint16), np.zeros(4)
    light = np.array([[-50.0, 10.4, 10.6, 1e6]], np.float32)
    readout.digitise(light, counts, np.array([1.0, 0.0, 0.0]), np.zeros(1), zero, np.zeros(1), zero)
    assert counts.tolist() == [[0, 10, 11, 65535]]


def test_a_full_pixel_reads_just_above_saturate():
    for quadrant in small_camera().quadrants:
        counts, zero = np.zeros((1, 1), np.uint16), np.zeros(1)
        well = full_well_electrons(quadrant, configuration().instrument.detector)
        line = quadrant.detector.linearity
        amplifier = np.array([quadrant.detector.gain, line.a, line.b])
        readout.digitise(np.full((1, 1), well, np.float32), counts, amplifier, zero, zero, zero, zero)
        assert counts[0, 0] == pytest.approx(1.01 * quadrant.detector.saturation, abs=1.5)


def test_cosmic_rays_come_at_their_rate_leave_their_charge_and_are_sharp():
    size = (4000, 4000)
    tracks = draw_tracks(generator(1, "rays"), COSMIC, size, 60.0)
    expected = COSMIC.rate_per_cm2_min * 36.0
    assert len(tracks.x) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    image = np.zeros(size, np.float32)
    add_tracks(image, tracks, generator(1, "steps"), COSMIC)
    assert image.sum(dtype=float) == pytest.approx(tracks.electrons.sum(), rel=0.03)
    steepest = np.abs(np.diff(image, axis=1)).max(axis=1)
    assert np.median(steepest[steepest > 0]) > 500
    none = draw_tracks(generator(1, "none"), COSMIC, size, 0.0)
    add_tracks(image, none, generator(1, "none"), COSMIC)
    assert len(none.x) == 0


def test_a_ccd_is_fixed_by_its_seed():
    one, same, other = (make_instrument(seed=seed).ccd(1) for seed in (3, 3, 4))
    assert np.array_equal(one.response, same.response)
    assert not np.array_equal(one.response, other.response)
    assert one.response.mean() == pytest.approx(1, abs=0.003)
    assert set(one.bad.kind) <= set(range(len(BAD_KINDS)))
    quiet = make_instrument(without=("prnu", "bad_pixels")).ccd(1)
    assert (quiet.response == 1).all()
    assert len(quiet.bad.row) == 0


def test_bias_glows_at_the_corner_that_is_read_first():
    camera = small_camera()
    for quadrant, bias in zip(camera.quadrants_of(1), make_instrument().ccd(1).bias, strict=True):
        first_row = 0 if quadrant.amplifier.read_y == 1 else -1
        first_column = 0 if quadrant.amplifier.read_x == 1 else -1
        assert bias.glow_row[first_row] == bias.glow_row.max() > 5
        assert bias.glow_column[first_column] == bias.glow_column.max() == 1
