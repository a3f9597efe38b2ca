"""Part b of gpu_day.py: statistics, label downscaling and losses beside plain baselines."""

from collections.abc import Callable, Iterator
from functools import partial

from bench_contrast import PIXELS, beside_baselines

SMOKE_PIXELS = (800,)


def measurements(
    device: str, *, smoke: bool
) -> dict[str, Callable[[], Iterator[tuple[str, dict[str, object]]]]]:
    """Return a section for each number of pixels."""
    return {
        f"contrast, N = {count}": partial(rows, count, device, 1 if smoke else 20)
        for count in (SMOKE_PIXELS if smoke else PIXELS)
    }


def rows(count: int, device: str, repeats: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the row of each part."""
    for row in beside_baselines(count, device, repeats):
        yield "beside plain baselines", row
