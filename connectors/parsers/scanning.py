"""The letters in a picture of a page, by RapidOCR's models, which come in its wheel.

Owns the engine, which of its lines count, and which way up a page is. It is imported when a page needs it and not
before: that takes seconds and half a gigabyte. Refuses the network: the engine would get other models from there, and
those that are here are named by its own settings. The order in which lines are read is that of
`connectors/parsers/reading_order.py`.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from connectors.parsers import Scan
from connectors.parsers.inventory import count
from connectors.parsers.pictures import SIDE_PIXELS_MAX
from connectors.parsers.reading_order import Corner, arrange, place_lines

FINDING_PIXELS_MAX = 1_280
"""The longer side of what lines are looked for in. Measured on pages of A4: 2 000 finds the same lines in twice the
time."""
CONFIDENCE_MIN = 0.6
"""A line counts from here on. Printed lines have 0.95 and more; below this, every third letter is another one."""
CONFIDENCE_LOW = 0.8
"""Mean confidence of a page that may be upside down."""
LINES_OF_PAGE = 3
"""Lines that say which way up a page is."""
TALL = 1.5
"""Height of a line in its lengths, when it runs from top to bottom."""
THREADS = min(2, os.cpu_count() or 1)
"""Cores that one page takes. More do not make it faster by as much."""

_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_ALLOCATIONS = ("bad_alloc", "Failed to allocate", "Insufficient memory")
"""How the engine and its libraries say that there is no memory."""


class _FoundLine(NamedTuple):
    corners: list[Corner]
    text: str
    confidence: float


def recognise(image: Image.Image, page: int) -> Scan:
    """What stands in the picture of a page, in RGB and of `SIDE_PIXELS_MAX` at most. Raises `MemoryError`, and whatever
    else the engine raises."""
    lines = _read(image)
    for degrees in _other_ways_up(lines):
        turned = _read(image.transpose(_TURNS[degrees]))
        lines = max(lines, turned, key=_weigh)
    return _describe(lines, page)


def recognise_all(images: Sequence[Image.Image], page: int) -> Scan:
    """What stands in several pictures of one page, one below the other. Raises as `recognise` does."""
    scans = [recognise(each, page) for each in images]
    if len(scans) == 1:
        return scans[0]
    text = "\n\n".join(each.text for each in scans if each.text)
    letters = sum(count(each.text) for each in scans)
    sure = sum(each.confidence * count(each.text) for each in scans)
    return Scan(
        page=page,
        text=text,
        lines=sum(each.lines for each in scans),
        left_out=sum(each.left_out for each in scans),
        unsure=sum(each.unsure for each in scans),
        confidence=round(sure / letters, 4) if letters else 0.0,
        script=find_script(text),
    )


def _other_ways_up(lines: list[_FoundLine]) -> tuple[int, ...]:
    """Turns that are worth a look: lines that run upwards, or that say hardly anything."""
    if len(lines) < LINES_OF_PAGE:
        return ()
    tall = sum(_is_tall(line.corners) for line in lines)
    if 2 * tall > len(lines):
        return (90, 270)
    return (180,) if sum(line.confidence for line in lines) < CONFIDENCE_LOW * len(lines) else ()


def _is_tall(corners: list[Corner]) -> bool:
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return max(ys) - min(ys) > TALL * (max(xs) - min(xs))


def _weigh(lines: list[_FoundLine]) -> float:
    """Letters that count, of lines that lie."""
    return sum(len(each.text) * each.confidence for each in lines if _counts(each) and not _is_tall(each.corners))


def _counts(line: _FoundLine) -> bool:
    return line.confidence >= CONFIDENCE_MIN


def _describe(lines: list[_FoundLine], page: int) -> Scan:
    kept = [line for line in lines if _counts(line)]
    letters = sum(count(line.text) for line in kept)
    text = arrange(place_lines([line.corners for line in kept], [line.text for line in kept]))
    return Scan(
        page=page,
        text=text,
        lines=len(kept),
        left_out=len(lines) - len(kept),
        unsure=sum(count(line.text) for line in lines if not _counts(line)),
        confidence=round(sum(line.confidence * count(line.text) for line in kept) / letters, 4) if letters else 0.0,
        script=find_script(text),
    )


def find_script(text: str) -> str:
    """The script of most letters, by the first word of their names in Unicode."""
    scripts = Counter(unicodedata.name(each, " ").split(" ")[0] for each in text if each.isalpha())
    if not scripts:
        return ""
    most = scripts.most_common(1)[0][0]
    return {"CJK": "Han"}.get(most, most.capitalize())


def _read(image: Image.Image) -> list[_FoundLine]:
    pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
    try:
        found = _engine()(pixels)
    except Exception as error:
        if any(said in str(error) for said in _ALLOCATIONS):
            raise MemoryError from None
        raise
    if found.boxes is None or found.txts is None:
        return []
    return [
        _FoundLine([(float(x), float(y)) for x, y in box], text.strip(), float(score))
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        if text.strip()
    ]


@cache
def _engine() -> Any:
    from rapidocr import RapidOCR
    from rapidocr.inference_engine.onnxruntime.main import OrtInferSession

    OrtInferSession._init_sess_opts = staticmethod(_session_options)  # type: ignore[method-assign, assignment]
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            # Every line with its confidence: what counts is said here.
            "Global.text_score": 0.0,
            # Which way up a page is, its lines say together; asked one by one, good lines are turned over.
            "Global.use_cls": False,
            "Global.max_side_len": SIDE_PIXELS_MAX,
            "Det.limit_type": "max",
            "Det.limit_side_len": FINDING_PIXELS_MAX,
            # Lines of different lengths in one batch are all as dear as the longest.
            "Rec.rec_batch_num": 1,
        }
    )


def _session_options(_: Any) -> Any:
    """Bounded threads that do not spin while they wait, memory that is given back, and numbers near zero as zero, which
    halves the time in which lines are found."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options
