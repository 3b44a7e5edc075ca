"""A scene of sources: which PSF each of them gets."""

import numpy as np
from psf_builders import star_field, true_model

from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_draw import TABLE
from zsds_tasks.pixels.psf_scene import CELL_PX, Scene


def test_a_source_gets_the_psf_of_its_place_or_of_the_middle_of_its_cell():
    field = star_field(8)
    model = true_model(field.optics, field.image.shape)
    peaks, half = field.peaks(), len(field.x) // 3
    config = PsfPhotometryConfig(exact_most=20)
    scene = Scene(*field.pixels, model, config)
    for part in (np.arange(half), np.arange(half, len(peaks))):  # cells met again are not mixed again
        assert scene.add(peaks.take(part)).all()
    row, is_exact = scene.plan[:, TABLE], np.zeros(len(scene), np.bool_)
    is_exact[np.argsort(-scene.flux[:half])[:20]] = True
    x = np.where(
        is_exact, scene.x, np.minimum((scene.x // CELL_PX + 0.5) * CELL_PX, field.image.shape[1] - 1)
    )
    y = np.where(
        is_exact, scene.y, np.minimum((scene.y // CELL_PX + 0.5) * CELL_PX, field.image.shape[0] - 1)
    )
    for k in range(len(scene)):
        np.testing.assert_allclose(scene.tables[row[k]], model.mixed(x[k], y[k]), atol=1e-6)
    assert len(np.unique(row)) == len(np.unique(np.column_stack([x, y]), axis=0))
