"""Images with blocks left out: masked image consistency (Hoyer et al., MIC, CVPR 2023).

What a network cannot see it must conclude from what stands around it.

Shapes: B images, H, W image size, h, w blocks along the sides.
"""

import torch
from torch import Tensor

from sepico_pl.augment.chance import Chance

BLOCKS_ALONG_A_SIDE = 16
"""The paper's: 64 pixels in crops of 1024, 32 in crops of 512."""


def blocks_along(side: int, block: int) -> int:
    """Return how many blocks of `block` pixels a side has: rounded to the nearest, at least 1."""
    return max(1, round(side / block))


def enlarged(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge cells (B, h, w) to `size` (H, W) by nearest: pixel y is of row floor(y h / H)."""
    rows, columns = (
        torch.arange(side, device=cells.device) * number // side
        for side, number in zip(size, cells.shape[-2:], strict=True)
    )
    return cells[:, rows][:, :, columns]


class BlockMask:
    """Leaves out square blocks of images, of each image its own.

    Args:
        ratio: probability with which a block is left out, in [0, 1); 0 leaves out none (a control).
        block: side of a block in pixels, >= 1; None for a sixteenth of the image's smaller side,
            rounded down, at least 1.
    """

    def __init__(self, *, ratio: float, block: int | None) -> None:
        """Remember how much to leave out."""
        self.ratio = ratio
        self.block = block

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many blocks an image of `size` (H, W) has along its sides (h, w)."""
        block = self.block or max(1, min(size) // BLOCKS_ALONG_A_SIDE)
        return blocks_along(size[0], block), blocks_along(size[1], block)

    def __call__(self, image: Tensor, chance: Chance) -> Tensor:
        """Return normalised images (B, 3, H, W) that are 0 where their blocks are left out.

        A block stays where its number exceeds the ratio.
        """
        size = (image.shape[-2], image.shape[-1])
        kept = chance.block_numbers(len(image), *self.grid(size)) > self.ratio
        pixels = enlarged(kept.to(image.device, non_blocking=True), size)
        return image.masked_fill(~pixels[:, None], 0.0)
