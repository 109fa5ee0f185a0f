"""Pages as a scanner makes them: known sentences in several fonts, slightly turned, with specks."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

A4 = (1_240, 1_754)
"""Pixels of a page at 150 points an inch."""
SAID = (
    "pump valve pressure engineer restarts before inspection every third morning because the reservoir upstream loses "
    "water when nobody watches its gauge and our operators write each reading into a journal that auditors compare"
)


def sentence(seed: int, words: int = 11) -> str:
    """A sentence that no other seed has."""
    chance = random.Random(seed)
    return f"Reading {seed} says {' '.join(chance.choice(SAID.split()) for _ in range(words))}."


def font(size: int, at: int = 0) -> ImageFont.FreeTypeFont:
    """The font that comes with Pillow, narrower or wider by turns: machines have others, or none."""
    made = ImageFont.load_default(size + 3 * (at % 3))
    assert isinstance(made, ImageFont.FreeTypeFont)
    return made


def page(
    lines: Sequence[str], *, at: int = 0, turn: float = 0.0, specks: int = 0, size: tuple[int, int] = A4
) -> Image.Image:
    """Lines from the top, `turn` in degrees."""
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    letters = font(24, at)
    for number, line in enumerate(lines):
        draw.text((110, 140 + 46 * number), line, font=letters, fill=25)
    image = image.rotate(turn, fillcolor=255, resample=Image.Resampling.BICUBIC)
    chance = random.Random(at)
    for _ in range(specks):
        image.putpixel((chance.randrange(size[0]), chance.randrange(size[1])), chance.randrange(256))
    return image


def columns(left: Sequence[str], right: Sequence[str]) -> Image.Image:
    """Two columns of text below a heading."""
    image = page(["A heading that goes from one side of the page to the other side"])
    draw = ImageDraw.Draw(image)
    for x, lines in ((110, left), (680, right)):
        for number, line in enumerate(lines):
            draw.text((x, 260 + 40 * number), line, font=font(22), fill=25)
    return image


def pack(image: Image.Image, form: str, others: Sequence[Image.Image] = ()) -> bytes:
    """A file of one picture, or of several pages: TIFF and PDF have those."""
    out = io.BytesIO()
    more = {"save_all": True, "append_images": list(others)} if others else {}
    image.save(out, form, **({"resolution": 150.0} if form == "PDF" else {}), **more)
    return out.getvalue()


def ten_scans(lines: int = 23) -> tuple[bytes, list[str]]:
    """A PDF of ten scanned pages of so many lines, and a sentence of each that nothing else says."""
    known = [sentence(100 + number) for number in range(10)]
    pages = [
        page(
            [known[number], *(sentence(1_000 * (number + 1) + line, words=8) for line in range(lines - 1))],
            at=number,
            turn=1.4 - 0.3 * number,
            specks=4_000,
        )
        for number in range(10)
    ]
    return pack(pages[0], "PDF", pages[1:]), known
