"""Pictures as pages: files of pictures, and pages of a PDF as a reader sees them.

Owns which forms of pictures are read, how many pages one has, and the bounds on its pixels, which its header says
before anything is unpacked. Refuses to recognise letters: `scanning` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import pypdfium2
from PIL import Image, ImageOps, UnidentifiedImageError

from connectors.parsers import Limits, Refusal, Scans
from connectors.parsers.inventory import Inventory
from connectors.parsers.scans import take_scans
from connectors.parsers.sniff import JPEG, PDF, PNG, TIFF, WEBP

POINTS_AN_INCH = 200
"""How fine a page of a PDF is drawn. Letters of 8 points are 15 pixels high then."""
SIDE_PIXELS_MAX = 2_400
"""The longer side of what is read: a page of A4 at 200 points an inch. What is larger is scaled."""

_FORMS: Mapping[str, str] = {PNG: "PNG", JPEG: "JPEG", TIFF: "TIFF", WEBP: "WEBP"}


def read_pictures(path: Path, media_type: str, limits: Limits, inventory: Inventory, scans: Scans) -> list[str]:
    """The text of each page of a file of pictures. Raises `Refusal` and `PagesWanted`."""
    with open_picture(path, (_FORMS[media_type],)) as image:
        pages = int(getattr(image, "n_frames", 1)) if media_type == TIFF else 1
        if pages > limits.pages_max:
            raise Refusal("too-many-pages", f"it has {pages} pages, at most {limits.pages_max}")
        if pages == 1:
            check_pixels(image, limits)
    found = take_scans(range(1, pages + 1), limits, inventory, scans, limits.text_bytes_max)
    return [found.get(number, "") for number in range(1, pages + 1)]


def draw_page(path: Path, media_type: str, page: int, limits: Limits) -> Image.Image:
    """The picture of a page, no larger than what is read. Raises `Refusal`."""
    if media_type == PDF:
        return _draw_pdf(path, page)
    with open_picture(path, (_FORMS[media_type],)) as image:
        try:
            if media_type == TIFF:
                image.seek(page - 1)
            check_pixels(image, limits)
            if media_type == JPEG:
                image.draft("RGB", (SIDE_PIXELS_MAX, SIDE_PIXELS_MAX))
            return flatten(image)
        except (OSError, EOFError, SyntaxError, ValueError):
            raise Refusal("broken", "the picture cannot be unpacked") from None


def _draw_pdf(path: Path, number: int) -> Image.Image:
    try:
        with pypdfium2.PdfDocument(path) as document:
            document.init_forms()
            with closing(document[number - 1]) as page:
                longer = max(*page.get_size(), 1.0)
                scale = min(POINTS_AN_INCH / 72, SIDE_PIXELS_MAX / longer)
                image: Image.Image = page.render(scale=scale).to_pil()
                return image.convert("RGB")
    except pypdfium2.PdfiumError:
        raise Refusal("broken", "the page cannot be drawn") from None


def check_pixels(image: Image.Image, limits: Limits) -> None:
    """Hold what its header says against the bound."""
    pixels = image.width * image.height
    if pixels > limits.pixels_max:
        raise Refusal("too-large", f"the picture has {pixels} pixels, at most {limits.pixels_max}")
    if not pixels:
        raise Refusal("broken", "the picture has no pixels")


def flatten(image: Image.Image) -> Image.Image:
    """The picture as it is shown: the right way up, on white, with eight bits a colour."""
    image.load()
    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.convert("I").point(lambda value: value / 256).convert("L")
    image.thumbnail((SIDE_PIXELS_MAX, SIDE_PIXELS_MAX), Image.Resampling.BICUBIC, reducing_gap=2.0)
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        image = paper
    return image.convert("RGB")


@contextmanager
def open_picture(file: Path | IO[bytes], forms: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open a picture of one of these forms, and unpack nothing. Raises `Refusal`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Our own bound is held, which does not depend on a warning.
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(file, formats=forms)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise Refusal("broken", "it begins like a picture, and is none") from None
        with image:
            yield image
