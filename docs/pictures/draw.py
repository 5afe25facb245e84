"""Draw the pictures of docs/layouts.md: python docs/pictures/draw.py [FOLDER]. The steps come from `slmtk.layout`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from slmtk.layout import MISSING, Layout, to_steps

FRAMES = 8
NAMES = "abc"
COLOURS = ("#2f6db5", "#3f9c6c", "#d08a1d")  # content 1, content 2, prosody
INK, QUIET, LINE = "#1c2733", "#5b6875", "#b8c1ca"
CELL, GAP = 26, 3


class Picture:
    """Shapes that become an SVG file of fixed width and height, in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """``title`` is what a screen reader says."""
        self.size = (width, height)
        self.title = title
        self.shapes: list[str] = []

    def text(self, x: float, y: float, words: str, *, size: int = 13, colour: str = INK, anchor: str = "start",
             weight: str = "normal") -> None:  # fmt: skip
        """Write ``words`` with their baseline at ``y``."""
        escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escaped}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = "none", stroke: str = LINE,
            dashed: bool = False) -> None:  # fmt: skip
        """Draw a rectangle with round corners."""
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{fill}" '
            f'stroke="{stroke}"{dash}/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float, *, colour: str = QUIET) -> None:
        """Draw a line with a head at its end."""
        self.shapes.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="1.4" '
            'marker-end="url(#head)"/>'
        )

    def cell(self, x: float, y: float, words: str, colour: str | None) -> None:
        """Draw one code; None for a pad."""
        self.box(x, y, CELL, CELL, fill=colour or "#eef1f4", stroke=colour or LINE, dashed=colour is None)
        self.text(
            x + CELL / 2, y + CELL / 2 + 4, words, size=11, colour="#ffffff" if colour else QUIET, anchor="middle"
        )

    def block(self, x: float, y: float, width: float, words: str, *, height: float = 30, fill: str = "#eef1f4") -> None:
        """Draw a named part of the model."""
        self.box(x, y, width, height, fill=fill, stroke=QUIET)
        self.text(x + width / 2, y + height / 2 + 4, words, size=12, anchor="middle")

    def write(self, path: Path) -> None:
        """Save it."""
        width, height = self.size
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{QUIET}"/></marker></defs>'
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="DejaVu Sans, Verdana, sans-serif" role="img">',
            f"<title>{self.title}</title>",
            head,
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *self.shapes,
            "</svg>",
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def steps_of(layout: Layout, frames: int = FRAMES) -> list[list[tuple[str, str | None]]]:
    """For each step, for each head, what it says and in which colour."""
    # A code that tells where it comes from: stream and frame.
    codes = torch.arange(frames) + 100 * torch.arange(layout.num_codebooks)[:, None]
    return [
        [
            ("pad", None) if code == MISSING else (f"{NAMES[code // 100]}{code % 100 + 1}", COLOURS[code // 100])
            for code in step
        ]
        for step in to_steps(codes, layout).tolist()
    ]


def grid(picture: Picture, x: float, y: float, steps: Sequence[Sequence[tuple[str, str | None]]]) -> float:
    """Draw steps as columns; returns where the last one ends."""
    for number, step in enumerate(steps):
        for head, (words, colour) in enumerate(step):
            picture.cell(x + number * (CELL + GAP), y + head * (CELL + GAP), words, colour)
    return x + len(steps) * (CELL + GAP)


def legend(picture: Picture, x: float, y: float) -> None:
    """Say which colour is which stream."""
    for name, stream, colour in zip(NAMES, ("content 1", "content 2", "prosody"), COLOURS, strict=True):
        picture.box(x, y - 11, 13, 13, fill=colour, stroke=colour)
        picture.text(x + 19, y, f"{name}  {stream}", size=12, colour=QUIET)
        x += 110
    picture.box(x, y - 11, 13, 13, fill="#eef1f4", dashed=True)
    picture.text(x + 19, y, "pad", size=12, colour=QUIET)


def layouts() -> Picture:
    """The same eight frames in every layout, a column a step."""
    shown = [
        ("interleaved", Layout("interleaved", 3), "1 head, 240 steps a second: next-token prediction; 24 steps"),
        ("grouped, g = 1", Layout("grouped", 3, 1), "3 heads, 80 steps a second (MTP-3H)"),
        ("grouped, g = 2", Layout("grouped", 3, 2), "6 heads, 40 steps a second (MTP-6H)"),
        ("grouped, g = 4", Layout("grouped", 3, 4), "12 heads, 20 steps a second (MTP-12H)"),
        ("delayed", Layout("delayed", 3), "3 heads, 80 steps a second; stream k is k frames late"),
    ]
    top = 74
    heights = [30 + layout.num_heads * (CELL + GAP) + 22 for _, layout, _ in shown]
    picture = Picture(20 + 24 * (CELL + GAP) + 14, top + sum(heights), "Eight frames of three streams in each layout")
    picture.text(20, 28, f"{FRAMES} frames of FACodec (0.1 s) in each layout", size=16, weight="bold")
    picture.text(20, 50, "a column is a step of the model, a row is a head", size=12, colour=QUIET)
    legend(picture, 350, 50)
    y = float(top)
    for (name, layout, words), height in zip(shown, heights, strict=True):
        picture.text(20, y + 14, name, weight="bold")
        picture.text(150, y + 14, words, colour=QUIET)
        end = grid(picture, 20, y + 24, steps_of(layout))
        count = layout.num_steps(FRAMES)
        if layout.kind != "interleaved":
            picture.text(end + 10, y + 24 + CELL / 2 + 4, f"{count} steps", colour=QUIET)
        y += height
    return picture


def prediction() -> Picture:
    """What goes into a step and what comes out of it, with g = 1."""
    picture = Picture(760, 330, "A step's codes are fused, go through the backbone and predict the next step's codes")
    picture.text(20, 28, "Who predicts what (grouped, g = 1)", size=16, weight="bold")
    columns = [("<sosp>", None, 0), ("step 1", 0, 1), ("step 2", 1, 2), ("step N", 7, None)]
    picture.text(20, 88, "targets", colour=QUIET)
    picture.text(20, 150, "speech heads", colour=QUIET)
    picture.text(20, 196, "backbone", colour=QUIET)
    picture.text(20, 240, "fusion", colour=QUIET)
    picture.text(20, 288, "input", colour=QUIET)
    steps = steps_of(Layout("grouped", 3))
    picture.box(120, 172, 620, 34, fill="#eef1f4", stroke=QUIET)
    picture.text(430, 194, "causal language model (its text head still predicts the text)", size=12, anchor="middle")
    for place, (name, inside, target) in enumerate(columns):
        x = 130 + place * 160
        centre = x + 43
        if inside is None:
            picture.block(x, 266, 86, name)
            picture.arrow(centre, 266, centre, 208)
        else:
            grid(picture, x, 268, [[cell] for cell in steps[inside]])
            picture.block(x, 222, 86, "mean or MLP", height=26)
            picture.arrow(centre, 268, centre, 250)
            picture.arrow(centre, 222, centre, 208)
            picture.text(centre, 314, name, size=11, colour=QUIET, anchor="middle")
        for head in range(3):
            picture.block(x + head * (CELL + GAP), 132, CELL, str(head + 1), height=26, fill="#ffffff")
        picture.arrow(centre, 172, centre, 160)
        picture.arrow(centre, 132, centre, 104)
        if target is None:
            picture.block(x, 72, 86, "<eosp> x 3", height=CELL)
        else:
            grid(picture, x, 72, [[cell] for cell in steps[target]])
    picture.text(590, 288, "...", colour=QUIET)
    return picture


def heads() -> Picture:
    """The four kinds of speech heads, for three heads."""
    picture = Picture(900, 360, "Four kinds of speech heads")
    picture.text(
        20, 28, "Four kinds of heads, between one hidden state and the codes of one step", size=16, weight="bold"
    )
    row = steps_of(Layout("grouped", 3))[0]
    kinds = ("linear", "mlp", "transformer", "depth")
    for number, kind in enumerate(kinds):
        x = 24 + number * 220
        picture.text(x, 62, kind, weight="bold")
        for head, cell in enumerate(row):
            picture.cell(x + 18 + head * 58, 78, *cell)
        picture.block(x, 300, 176, "hidden state")
        for head in range(3):
            left = x + 6 + head * 58
            middle = left + 25
            picture.block(left, 130, 50, "linear", height=28, fill="#ffffff")
            picture.arrow(middle, 130, middle, 107)
            if kind == "linear":
                picture.arrow(middle, 300, middle, 160)
            elif kind == "mlp":
                picture.block(left, 206, 50, "2x SiLU", height=28, fill="#ffffff")
                picture.arrow(middle, 206, middle, 160)
                picture.arrow(middle, 300, middle, 236)
            else:
                picture.arrow(middle, 206, middle, 160)
                if kind == "depth" or head == 1:
                    picture.arrow(middle, 300, middle, 246)
        if kind == "transformer":
            picture.block(x, 206, 176, "2 layers over all positions", height=38)
        if kind == "depth":
            picture.block(x, 206, 176, "small transformer", height=38)
            for head in range(2):
                start = x + 18 + head * 58 + CELL
                picture.arrow(start, 98, x + 6 + (head + 1) * 58 + 12, 204, colour=COLOURS[head])
        picture.text(x, 350, WORDS_BELOW[kind], size=11, colour=QUIET)
    return picture


WORDS_BELOW = {
    "linear": "each head by itself",
    "mlp": "each head by itself",
    "transformer": "shared by the heads",
    "depth": "head h knows the codes before it",
}


def orders() -> Picture:
    """Content first or prosody first, in three layouts."""
    picture = Picture(900, 300, "Content before prosody and prosody before content")
    picture.text(20, 28, "Order of the streams within a frame", size=16, weight="bold")
    legend(picture, 400, 28)
    rows = (("C-P", "content1,content2,prosody", None), ("P-C", "prosody,content1,content2", (2, 0, 1)))
    for number, (name, words, order) in enumerate(rows):
        y = 84 + number * 112
        picture.text(20, y + 24, name, weight="bold")
        picture.text(20, y + 44, "--stream-order", size=10, colour=QUIET)
        picture.text(20, y + 58, words, size=10, colour=QUIET)
        x = 200.0
        for kind, frames in (("interleaved", 3), ("grouped", 3), ("delayed", 4)):
            if not number:
                picture.text(x, 66, kind, size=12, colour=QUIET)
            grid(picture, x, y, steps_of(Layout(kind, 3, order=order), frames))
            x += 320 if kind == "interleaved" else 150
    return picture


PICTURES = {"layouts": layouts, "prediction": prediction, "heads": heads, "orders": orders}


def main(folder: Path) -> None:
    """Write every picture into ``folder``."""
    for name, draw in PICTURES.items():
        draw().write(folder / f"{name}.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
