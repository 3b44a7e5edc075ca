"""The files of a difference image: the difference, its PSF, and the stamps of its candidates."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import Card, encode_image
from zsds_tasks.pixels.fits_writer import encode_plain_image
from zsds_tasks.science.alerts.cutouts import cut_triplet
from zsds_tasks.science.difference.subtract import DifferenceImage
from zsds_tasks.steps.difference.configuration import DifferencingConfig
from zsds_tasks.steps.difference.work import DifferenceWork
from zsds_tasks.steps.science_frames import ScienceFrame
from zsds_tasks.survey.filenames import ScienceFileName, ScienceSuffix

Image = NDArray[np.float32]
Row = dict[str, Any]
STAMPS = ("science", "template", "difference")
TILE_COLUMNS = 256
"""Of a tile of the difference: forced photometry reads a few places of each of many images."""


def write_difference(
    work: DifferenceWork,
    frame: ScienceFrame,
    images: tuple[Image, Image, Image],
    done: DifferenceImage,
    candidates: pa.Table,
    config: DifferencingConfig,
    lakehouse: Lakehouse,
) -> Row:
    """Write the files of a difference image.

    Parameters
    ----------
    work : DifferenceWork
    frame : ScienceFrame
    images : (science, template, difference)
        (ny, nx) float32, DN, without sky, for the stamps.
    done : DifferenceImage
    candidates : pyarrow.Table
        Rows of candidates.
    config : DifferencingConfig
    lakehouse : Lakehouse

    Returns
    -------
    dict
        path and products of the row of difference_images.
    """
    name = ScienceFileName.parse(work.image["path"].rpartition("/")[2])
    files = {
        ScienceSuffix.DIFFERENCE: encode_image(
            done.image, _cards(work, frame, done), name="DIFFIMG", tile_columns=TILE_COLUMNS
        ),
        ScienceSuffix.DIFFERENCE_PSF: encode_plain_image(done.subtraction.psf_stamp(), []),
        ScienceSuffix.CUTOUTS: _stamps(images, candidates, config),
    }
    products = []
    for suffix, data in files.items():
        lakehouse.storage.put_bytes_atomically(data, replace(name, suffix=suffix).path)
        products.append(f"{hashlib.sha256(data).hexdigest()} {suffix.value}")
    return {"path": replace(name, suffix=ScienceSuffix.DIFFERENCE).path, "products": products}


def _stamps(images: tuple[Image, Image, Image], candidates: pa.Table, config: DifferencingConfig) -> bytes:
    """Return a Parquet file with the stamps of every candidate that an alert may be made of."""
    chosen = candidates.filter(pc.greater_equal(candidates["scorr"], config.detect.threshold_sigma))
    triplets = [
        cut_triplet(images, x, y, config.cutouts, is_positive=positive)
        for x, y, positive in zip(
            *(chosen.column(name).to_pylist() for name in ("xpos", "ypos", "isdiffpos")), strict=True
        )
    ]
    columns = {"candid": chosen.column("candid").combine_chunks()}
    columns |= {
        name: pa.array([triplet[k] for triplet in triplets], pa.binary()) for k, name in enumerate(STAMPS)
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="none")
    return sink.getvalue()


def _cards(work: DifferenceWork, frame: ScienceFrame, done: DifferenceImage) -> list[Card]:
    own: list[Card] = [
        ("PID", work.image["pid"], "product"),
        ("RFID", work.reference["rfid"], "reference subtracted"),
        ("RFVERS", work.reference["version"], "its version"),
        ("MAGZP", done.zero_point, "[mag] zero point of the difference"),
        ("GAINFACT", done.alignment.factor[0], "flux scale of the reference over this image's"),
        ("REGERRX", done.alignment.sigma_x, "[pix] error of the registration"),
        ("REGERRY", done.alignment.sigma_y, "[pix] error of the registration"),
        ("ENGINE", done.engine, "how it was subtracted"),
        ("PROCVERS", work.version, "processing version"),
        ("BUNIT", "adu", "unit of fluxes"),
    ]
    return own + [(name, value, "") for name, value in frame.wcs.header().items()]
