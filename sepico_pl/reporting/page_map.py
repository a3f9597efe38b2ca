"""The map of the embedding space as an image of the page.

As an image a drawing can run no script and fetch nothing, whoever drew it.
"""

import html
import re
from pathlib import Path
from typing import NamedTuple

from sepico_pl.reporting.page_pictures import data_address
from sepico_pl.reporting.run_files import lies_inside

LARGEST = 4 * 2**20
"""Bytes of a map; one of 50 pixels of 19 classes has a tenth."""
LONGEST_DESCRIPTION = 2000
# An image does not know the colours of its page, only whether the reader likes it dark.
INKS = (
    "<style>svg{color:#1b1f26;font-family:system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){svg{color:#e8ebef}}</style>"
)


class Map(NamedTuple):
    """The map inside the page.

    Attributes:
        source: a `data:` address.
        description: what it shows, for those who cannot see it.
    """

    source: str
    description: str


def map_of(run: Path) -> Map | None:
    """Read `embeddings/map.svg` of a run folder; None where there is none that can be shown."""
    path = run / "embeddings" / "map.svg"
    try:
        if not lies_inside(path, run) or not path.is_file() or path.stat().st_size > LARGEST:
            return None
        drawing = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    start = re.search(r"<svg\b[^>]*>", drawing)
    if start is None:
        return None
    coloured = drawing[: start.end()] + INKS + drawing[start.end() :]
    label = re.search(r'aria-label="([^"]*)"', start[0])
    description = html.unescape(label[1]) if label else "map of the embedding space"
    source = data_address("image/svg+xml", coloured.encode("utf-8"))
    return Map(source, description[:LONGEST_DESCRIPTION])
