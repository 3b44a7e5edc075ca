"""Real pixels: cut-outs of ZTF science images, and a crowded field of the bulge seen several times."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.photometry.psf_sources import PointSourcesConfig, measure_point_sources

ZTF_GAIN, SATURATION = 6.2, 50_000
NOT_FOR_PHOTOMETRY = {"RS16281_STREAK"}  # the trail runs through most of its stars


def measured(pixels, gain, saturation):
    image = pixels.astype(np.float32)
    mask = np.where(image > saturation, MaskBit.SATURATED.flag, 0).astype(np.uint16)
    background = measure_background(image, mask, UNUSABLE, BackgroundConfig(cell=64))
    background.level.add_to(image, -1.0)
    found = measure_point_sources(
        image, mask, background.noise, gain, PointSourcesConfig(), keep_residual=True
    )
    return found, float(np.median(background.noise.values))


def test_ztf_cut_outs_are_explained_by_psf_and_noise(real_data):
    with fits.open(real_data / "images" / "ztf_sciimg_cutouts_256.fits.gz") as cut_outs:
        for hdu in cut_outs[1:]:
            found, noise = measured(hdu.data, ZTF_GAIN, SATURATION)
            assert len(found) >= 20, hdu.name
            assert 1.2 < found.psf.fwhm < 8, hdu.name
            assert np.nanmedian(np.abs(found.residual)) * 1.4826 < 1.25 * noise, hdu.name
            if hdu.name not in NOT_FOR_PHOTOMETRY:
                assert 0.9 < np.median(found.chi) < 1.2, hdu.name
                assert abs(np.median(found.sharp)) < 0.1 * found.psf.fwhm, hdu.name


@pytest.fixture(scope="module")
def bulge(request):
    """Three frames of the night of which there are most, in order of time."""
    folder = request.getfixturevalue("real_data") / "images" / "saao_kb13475"
    frames = sorted((fits.getheader(path, 1)["MJD-OBS"], path) for path in sorted(folder.glob("*.fits.fz")))
    nights = {}
    for mjd, path in frames:
        nights.setdefault(int(mjd), []).append(path)
    return max(nights.values(), key=len)[:3]


def pointing_shift(a, b):
    """Shift of the pointing between two catalogues, px, on which most of the brightest agree."""
    first, second = (np.column_stack([c.xpos, c.ypos])[np.argsort(-c.flux)[:80]] for c in (a, b))
    shifts = (second[:, None] - first[None]).reshape(-1, 2)
    tree = cKDTree(shifts)
    agreeing = tree.query_ball_point(shifts, 1.0)
    return np.median(shifts[max(agreeing, key=len)], axis=0)


def test_bright_stars_of_a_crowded_field_repeat(bulge):
    found = []
    for path in bulge:
        with fits.open(path) as hdus:
            found.append(measured(hdus[1].data, hdus[1].header["GAIN"], 60_000)[0])
    reference = found[0]
    for other in found[1:]:
        places = np.column_stack([other.xpos, other.ypos]) - pointing_shift(reference, other)
        distance, row = cKDTree(places).query(np.column_stack([reference.xpos, reference.ypos]))
        inside = (np.minimum(reference.xpos, reference.ypos) > 25) & (
            np.maximum(reference.xpos, reference.ypos) < 485
        )
        bright = inside & (distance < 1.0) & ~reference.is_hidden & (reference.snr > 300)
        assert np.count_nonzero(bright) > 40
        change = -2.5 * np.log10(other.flux[row[bright]] / reference.flux[bright])
        scatter = 1.4826 * np.median(np.abs(change - np.median(change)))
        assert scatter < 0.015  # unresolved neighbours, in seeing that differs
        assert 1.4826 * np.median(np.abs(distance[bright])) < 0.2
