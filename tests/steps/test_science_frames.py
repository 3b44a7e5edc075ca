"""What the header of a calibrated image says of its zero point comes back as it was measured."""

import numpy as np
import pytest

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import scan
from zsds_tasks.pixels.fits_writer import encode_plain_image
from zsds_tasks.products.science_headers import ZP_TERMS, science_cards
from zsds_tasks.science.photometry.spatial import SpatialTerm, term_degrees
from zsds_tasks.steps.science_frames import spatial_term
from zsds_tasks.survey.filenames import ScienceSuffix

SHAPE = (770, 768)


def header_of(values):
    cards = science_cards(ScienceSuffix.PSF_CENTRE, values)
    return scan(encode_plain_image(np.zeros((5, 5), np.float32), cards))[0].header


@pytest.mark.parametrize("order", range(6))
def test_the_term_goes_through_a_header(order):
    values = np.random.default_rng(order).normal(0, 0.02, len(term_degrees(order)))
    term = SpatialTerm(order, tuple(values.tolist()), SHAPE)
    assert spatial_term(header_of(term.header()), SHAPE, subject="q") == term
    assert list(ZP_TERMS)[: len(values)] == term_degrees(order)


def test_files_from_before_the_keyword_count_as_flat_and_a_torn_term_is_refused():
    assert spatial_term(header_of({"MAGZP": 26.0}), SHAPE, subject="q") == SpatialTerm.none(SHAPE)
    with pytest.raises(UnusableInputError, match="no ZPL01 in the header"):
        spatial_term(header_of({"ZPORDER": 1, "ZPL10": 0.01}), SHAPE, subject="q")
