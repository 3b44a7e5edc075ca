"""A small lakehouse whose tables are released: light curves of two units, their images, and nothing else."""

from __future__ import annotations

import numpy as np

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.connection import open_storage
from zsds_tasks.products.tables import INDEX_COLUMN, load_table
from zsds_tasks.settings import Settings

FIELDS = (281, 282)


class Survey:
    """Nights come one by one; each gives every star of a unit one epoch, as the light-curve step does."""

    def __init__(self, folder, *, stars=40, storage=None):
        self.settings = Settings(root=str(folder))
        self.lakehouse = Lakehouse(storage or open_storage(str(folder)), self.settings.include)
        self.stars = stars
        self.images = []
        self.rfversion = 0

    def observe(self, night, *, fields=FIELDS, version="v1"):
        """Add one image per field."""
        for field in fields:
            pid = len(self.images) + 1
            self.images.append({"pid": pid, "field": field, "night": night, "processing_version": version})

    def reprocess(self, night, version):
        """Give the images of a night another processing version."""
        for image in self.images:
            if image["night"] == night:
                image["processing_version"] = version

    def write(self):
        """Bring the tables up to date."""
        self.lakehouse.table("science_images").merge([science_image(one) for one in self.images])
        self.lakehouse.table("photometric_offsets").merge([offset(one) for one in self.images])
        units = [unit(field, self.rfversion) for field in FIELDS]
        rows = [self._curve(field, number) for field in FIELDS for number in range(self.stars)]
        curves = self.lakehouse.table("lightcurves")
        curves.replace([row for row in rows if row["nepochs"]], {"fieldid": list(FIELDS)})
        self.lakehouse.table("matched_units").merge(units)

    def _curve(self, field, number):
        random = np.random.default_rng([field, number])
        images = [one for one in self.images if one["field"] == field]
        shift = [0.1 if one["processing_version"] != "v1" else 0.0 for one in images]
        base = random.uniform(15.0, 19.0)
        return {
            "objectid": field * 10**12 + self.rfversion * 1000 + number,
            "filterid": 1,
            "fieldid": field,
            "rcid": 7,
            "objra": 10.0 + 3.0 * FIELDS.index(field) + random.uniform(0.0, 1.5),
            "objdec": 20.0 + random.uniform(0.0, 1.5),
            "nepochs": len(images),
            "lightcurve": {
                "hmjd": [60000.0 + one["pid"] for one in images],
                "mag": [base + change for change in shift],
                "magerr": [0.02 for _ in images],
                "clrcoeff": [0.0 for _ in images],
                "catflags": [0 for _ in images],
            },
        }


def filled(name, known):
    """Return a row of a declared table: known values, and the smallest permitted of all other columns."""
    row = {}
    for column in load_table(name).columns:
        if column.name != INDEX_COLUMN:
            row[column.name] = known.get(column.name, None if column.nullable else _neutral(column))
    return row


def _neutral(column):
    if column.is_list:
        return []
    if column.type == "string":
        return "20260101"[: 8 if column.pattern else 0]
    if column.type == "bool":
        return False
    return 1 if column.type.startswith("int") else 1.0


def science_image(image):
    known = image | {"expid": image["pid"], "rcid": 7, "fid": 1, "status": 1, "ra": 10.0, "dec": 20.0}
    return filled("science_images", known)


def unit(field, rfversion):
    known = {"field": field, "fid": 1, "rcid": 7, "rfversion": rfversion, "rfid": field * rfversion}
    return filled("matched_units", known)


def offset(image):
    return filled("photometric_offsets", image | {"fid": 1, "rcid": 7, "offset_mag": 0.0})
