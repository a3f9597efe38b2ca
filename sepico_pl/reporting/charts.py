"""Charts as SVG text that follows the page it stands in: its colour, its font, light or dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart by all. A page may set `--series-1`, ... to what suits its
# background; without it, these are drawn.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
# Never drawn: it becomes the colour of the text around.
INK = "#010203"

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "sepico_pl",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
}


@contextmanager
def chart(width: float = 4.0, height: float = 2.4) -> Iterator[Figure]:
    """Draw on a figure of this size in inches, in the style of the reports.

    The default is as wide as a phone: several stand side by side on a larger screen.
    """
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: Figure, description: str) -> str:
    """Return a figure as an `<svg>` element that scales with its place.

    Args:
        figure: drawn within `chart`.
        description: what it shows, for those who cannot see it.
    """
    with mpl.rc_context(STYLE):
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--series-{number}, {colour})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # several charts on a page would share them
    label = escape(description, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
