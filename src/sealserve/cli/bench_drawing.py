"""Lines and words on a white page, as SVG (our own few elements) or PNG (Pillow).

SVG 2: shapes and text, sections 10 and 11. Nothing in a page is a peer's: words come from the
command line, and are escaped.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape

INK = "#222222"
GRID = "#dddddd"
SCALE = 2  # pixels of a PNG for one unit of the page
_ANCHORS = {"start": "l", "middle": "m", "end": "r"}


@dataclass(frozen=True)
class Line:
    """Points from one to the next, in units from the page's upper left corner."""

    points: tuple[tuple[float, float], ...]
    colour: str = INK
    width: float = 1.0


@dataclass(frozen=True)
class Words:
    """One line of text whose base line is at a height."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: int = 12
    colour: str = INK


@dataclass
class Page:
    """What is drawn, in the order in which it is."""

    width: int
    height: int
    title: str
    shapes: list[Line | Words] = field(default_factory=list)


def svg(page: Page) -> str:
    """The page as an SVG document of its own."""
    size = f'width="{page.width}" height="{page.height}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {page.width} {page.height}"'
        ' font-family="Helvetica, Arial, sans-serif" role="img">'
    )
    body = [
        _svg_line(shape) if isinstance(shape, Line) else _svg_words(shape) for shape in page.shapes
    ]
    white = f'<rect {size} fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(page.title)}</title>", white, *body, "</svg>\n"])


def _svg_line(line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    style = f'fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"'
    return f'<polyline points="{points}" {style} stroke-linejoin="round"/>'


def _svg_words(words: Words) -> str:
    style = f'font-size="{words.size}" text-anchor="{words.anchor}" fill="{words.colour}"'
    return f'<text x="{words.x:.1f}" y="{words.y:.1f}" {style}>{escape(words.text)}</text>'


def png(page: Page) -> bytes:
    """The page as a PNG, twice as large; it needs Pillow, of the `client` extra."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (page.width * SCALE, page.height * SCALE), "white")
    draw = ImageDraw.Draw(image)
    for shape in page.shapes:
        if isinstance(shape, Line):
            points = [(x * SCALE, y * SCALE) for x, y in shape.points]
            draw.line(points, shape.colour, round(shape.width * SCALE), joint="curve")
        else:
            font = ImageFont.load_default(shape.size * SCALE)
            place = (shape.x * SCALE, shape.y * SCALE)
            draw.text(place, shape.text, shape.colour, font, anchor=f"{_ANCHORS[shape.anchor]}s")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
