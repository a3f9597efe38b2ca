"""Class mix: source classes pasted onto target images (DACS, Tranheden et al., WACV 2021)."""

import torch
from torch import Tensor

from sepico_pl.ranks import sum_over_ranks
from sepico_pl.types import IGNORE_INDEX


def classes_present(labels: Tensor) -> Tensor:
    """Return the ids (K,) in the labels (B, H, W) of all ranks, ascending, 255 among them."""
    counts = torch.bincount(labels.flatten(), minlength=IGNORE_INDEX + 1)
    return sum_over_ranks(counts).nonzero()[:, 0]


def class_mask(labels: Tensor, classes: Tensor) -> Tensor:
    """Mark the pixels of labels (H, W) that belong to one of `classes` (K,): (H, W) bool."""
    return torch.isin(labels, classes)


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Lay the masked source over the target: mask (B, H, W) bool over (B, H, W) or (B, K, H, W)."""
    return torch.where(mask if source.ndim == mask.ndim else mask[:, None], source, target)
