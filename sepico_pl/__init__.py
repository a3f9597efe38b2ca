"""SePiCo: semantic-guided pixel contrast for domain adaptive semantic segmentation.

`load` and `SegmentationModel` are imported when they are first used, and torch with them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sepico_pl.libraries import NETWORKS, import_quickly

if TYPE_CHECKING:
    from sepico_pl.serving.loading import load
    from sepico_pl.serving.model import SegmentationModel

__version__ = "0.1.0"
__all__ = ["SegmentationModel", "__version__", "load"]

PLACES = {"load": "serving.loading", "SegmentationModel": "serving.model"}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import what is first used now (PEP 562)."""
    if name not in PLACES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import_quickly(NETWORKS)
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
