"""One look for all charts: colours that hold on light and dark paper, and SVG that takes its text colour from the page."""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK, MUTED, GRID, PAPER = "#0a0b0c", "#7a7b7c", "#d1d2d3", "#fdfcfb"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"}
"""Stand-ins that become variables of the page, so that a chart follows its light or dark theme."""

PALETTE = ("#2f6fd0", "#d9772b", "#1e9a84", "#b0559f", "#8a8f2e", "#d1495b", "#3d9fc4", "#9a6b4b", "#6b63c9", "#7b8794")
"""Of middle lightness. Order: claiming methods come first."""

TITLE, LABEL = 36, 28
"""Letters of a title and of a label of an axis that are drawn; a wide one, such as Chinese, counts twice."""

_STYLE: Any = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "figure.facecolor": "none",
    "font.size": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "raytune_rec",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 8,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "xtick.minor.size": 0,
    "ytick.color": MUTED,
    "ytick.labelsize": 8,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 0,
}


def colours(first: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, those in `first` before the others."""
    order = [*[n for n in names if n in first], *[n for n in names if n not in first]]
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(order)}


@contextmanager
def panel(title: str = "", height: float = 2.15) -> Iterator[tuple[Figure, Any]]:
    """A figure of one set of axes in the common style; sizes in inches."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.2, height), layout="constrained")
        axes = figure.subplots()
        if title:
            axes.set_title(cut(title, TITLE))
        yield figure, axes


def tell(axes: Any, x: Sequence[float], y: Sequence[float] | NDArray[Any], texts: Sequence[str]) -> None:
    """What the page says where a reader points at a chart, in numbers of its axes; what is not finite is not drawn either."""
    points = [(px, py, text) for px, py, text in zip(x, y, texts, strict=True) if math.isfinite(px) and math.isfinite(py)]
    axes.told = [*getattr(axes, "told", ()), *points]


def _tips(figure: Figure) -> str:
    """Lines of (x, y in the units of the picture's `viewBox`, text)."""
    lines, (width, height) = [], figure.get_size_inches() * 72
    for axes in figure.axes:
        told = getattr(axes, "told", ())
        if not told:
            continue
        to_share = axes.transData + figure.transFigure.inverted()
        for (x, y), (*_, text) in zip(to_share.transform([point[:2] for point in told]), told, strict=True):
            lines.append(f"{x * width:.1f} {(1 - y) * height:.1f} {text}")
    return "\n".join(lines)


def cut(text: str, most: int) -> str:
    """A name as long as a chart has room for."""
    widths = [2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text]
    if sum(widths) <= most:
        return text
    kept = bisect_right(list(accumulate(widths)), most - 1)
    return text[:kept] + "\N{HORIZONTAL ELLIPSIS}"


def svg(figure: Figure, alt: str) -> Markup:
    """The figure as inline SVG with a text for those who cannot see it. Equal figures give equal bytes."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # the reader's own fonts draw the text
        FigureCanvasSVG(figure)
        if (layout := figure.get_layout_engine()) is not None:  # by itself: `savefig` would draw everything once more for it
            layout.execute(figure)
            figure.set_layout_engine(None)
        tips = _tips(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)  # it would speak to the whole page
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    key = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()  # several charts share a page, ids must not meet
    text = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    told = f' data-tips="{html.escape(tips)}"' if tips else ""
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"{told}', 1))
