"""Real frames of other telescopes are no ZTF raw frames: each is refused, and for the right reason."""

from collections import Counter

import pytest
from builders import Installation

RAW_NAME = "ztf_20251012{number:06d}_000005_zr_c01_o.fits.fz"


@pytest.fixture
def place(tmp_path):
    return Installation.at(tmp_path)


def test_under_their_own_names_they_are_not_raw(place, real_data):
    files = sorted((real_data / "images" / "saao_kb13475").glob("*.fits.fz"))[:8]
    assert files
    place.deliver(*[(path.name, path.read_bytes()) for path in files])
    assert place.ingest().quarantined == {"not_a_raw_name": len(files)}
    place.assert_sound()


def test_under_raw_names_they_are_of_another_kind(place, real_data):
    """Single images, gzipped stamps, another instrument: none passes, none breaks anything."""
    files = [
        *sorted((real_data / "images").rglob("*.fits.fz"))[:12],
        *sorted((real_data / "images").rglob("*.fits.gz"))[:6],
    ]
    place.deliver(*[(RAW_NAME.format(number=n), path.read_bytes()) for n, path in enumerate(files)])
    summary = place.ingest()
    assert summary.ingested == 0
    codes = Counter(summary.quarantined)
    assert codes.pop("not_fits") == sum(path.name.endswith(".gz") for path in files)
    assert set(codes) <= {"wrong_camera", "wrong_structure"}
    place.assert_sound()
