"""A page of many fields stays small enough to send: every gallery full, every owner of errors full, pictures of a real texture."""

from pathlib import Path

import numpy as np

import smear
from smear.images import encode, read_image
from smear.report.error_pictures import picture_errors
from smear.report.gallery import ERROR_LIMIT, GALLERY_LIMIT, OWNERS, GalleryItem
from smear.report.html import render_html
from smear.report.summary import summarise
from smear.report.views import look
from smear.store import GALLERY_PX
from smear.types import Detections, Field, FieldResult, Scale

N_FIELDS, PER_FIELD, RBC_PX = 100, 12, 70
MAX_BYTES = 10_000_000


def field_result(index, boxes):
    n = len(boxes)
    p = np.tile(np.array([0.8, 0.2], np.float32), (n, 1))
    found = Detections(boxes, np.full(n, 0.9, np.float32), np.zeros(n, np.int64))
    place = Field(f"slide {index % 20}/field {index}.jpg", Path("x"), f"slide {index % 20}")
    return FieldResult(place, (480, 640), found, ("WBC",), np.ones(n, bool), p, ("ALL", "HEM"), 0.7, Scale(RBC_PX, 0.1, 9, "red cells"))


def test_a_page_of_a_hundred_fields_stays_below_ten_megabytes():
    image = read_image(Path(smear.__file__).parent / "golden" / "field.jpg")
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, (image.shape[1] - 130, image.shape[0] - 130), (N_FIELDS, PER_FIELD, 2))
    results = [field_result(i, np.hstack([c, c + rng.uniform(80, 130, c.shape)])) for i, c in enumerate(corners)]
    errors = [
        {"field": r.field.id, "owner": owner, "truth": "ALL", "label": "HEM", "p": 0.8, "score": 0.9, "box": list(r.detections.boxes[k])}
        for k, owner in enumerate(OWNERS)
        for r in results[:ERROR_LIMIT]
    ]
    pictures = picture_errors(errors, results, read=lambda field: image)
    gallery = [
        GalleryItem(r.field.id, k, label, 0.8, encode(look(image, r.detections.boxes[k], 3 * RBC_PX, GALLERY_PX).picture, ".jpg"))
        for k, label in enumerate(("ALL", "HEM"))
        for r in results[:GALLERY_LIMIT]
    ]
    page = render_html(summarise(results, metrics={"errors": errors, "n_errors": len(errors)}), gallery, pictures)
    assert len(pictures) == ERROR_LIMIT * len(OWNERS)
    assert page.count("data:image/") == len(pictures) + 2 * GALLERY_LIMIT
    assert len(page.encode()) < MAX_BYTES, len(page.encode())
