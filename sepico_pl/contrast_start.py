"""Whether a run came to its contrast, which begins after `adapt.contrast_start` steps."""

from collections.abc import Mapping
from typing import Any


def contrast_steps(config: Mapping[str, Any], end: int) -> int | None:
    """Return in how many of its first `end` steps a run contrasted; None without a contrast."""
    if config["contrast"] is None:
        return None
    start: int = config["adapt"].get("contrast_start", 0)
    return max(0, end - start)


def without_contrast(start: int) -> str:
    """Say that a run ends before its contrast, which would start after `start` steps."""
    return f"without its contrast, which starts after {start} steps (adapt.contrast_start)"
