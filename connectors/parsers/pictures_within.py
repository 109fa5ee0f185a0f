"""Pictures that are parts of a document of Office, as a reader sees them: unpacked within the bounds of any picture.

Owns which forms of them are read, and that what a document cuts off of a picture is none of it. Which pictures a page
has, `find_pictures` says. Refuses to recognise letters: `scanning` does.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from PIL import Image

from connectors.parsers import Limits, Refusal
from connectors.parsers.package import Package
from connectors.parsers.pictures import check_pixels, flatten, open_picture
from connectors.parsers.slides import read_pictures_of_slide
from connectors.parsers.sniff import PPTX
from connectors.parsers.word_pictures import PlacedPicture, read_pictures_of

PICTURES_MAX: Final = 4
"""Pictures of one slide, or of one drawing: each takes as long as a page, and they share the bounds of one."""
FORMS: Final = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP")
"""What programs of Office put into a file, but for drawings of lines, which no library here draws."""

SVG_HEAD_BYTES: Final = 1_024
"""Bytes in which a drawing says that it is one."""
_WMF, _EMF = b"\xd7\xcd\xc6\x9a", b" EMF"


def draw_pictures(path: Path, media_type: str, number: int, limits: Limits) -> list[Image.Image]:
    """The pictures of a slide, or that of a number of a text, no larger than what is read; at least one. Those that
    cannot be unpacked are left out where there are others. Raises `Refusal`."""
    with closing(Package(path, limits)) as package:
        if media_type == PPTX:
            placed = read_pictures_of_slide(package, number, PICTURES_MAX)
        else:
            placed = read_pictures_of(package, number)[:PICTURES_MAX]
        refusals: list[Refusal] = []
        drawn = list(_draw_each(package, placed, limits, refusals))
    if not drawn:
        raise refusals[0] if refusals else Refusal("broken", "there is no picture in it that could be unpacked")
    return drawn


def _draw_each(
    package: Package, placed: list[PlacedPicture], limits: Limits, refusals: list[Refusal]
) -> Iterator[Image.Image]:
    for each in placed:
        try:
            yield _draw(package.read(each.target), each, limits)
        except Refusal as refusal:
            refusals.append(refusal)


def _draw(content: bytes, placed: PlacedPicture, limits: Limits) -> Image.Image:
    if content.startswith(_WMF) or content.startswith(_EMF, 40) or b"<svg" in content[:SVG_HEAD_BYTES]:
        raise Refusal("unsupported-type", "the picture is a drawing of lines, which is not read")
    with open_picture(io.BytesIO(content), FORMS) as image:
        try:
            check_pixels(image, limits)
            left, top, right, bottom = placed.cut
            box = (
                round(left * image.width),
                round(top * image.height),
                round((1 - right) * image.width),
                round((1 - bottom) * image.height),
            )
            if box[0] >= box[2] or box[1] >= box[3]:
                raise Refusal("broken", "nothing is shown of the picture")
            return flatten(image.crop(box) if any(placed.cut) else image)
        except (OSError, EOFError, SyntaxError, ValueError):
            raise Refusal("broken", "the picture cannot be unpacked") from None
