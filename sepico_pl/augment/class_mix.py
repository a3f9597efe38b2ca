"""Class mix: source classes pasted onto target images (DACS, Tranheden et al., WACV 2021)."""

import torch
from torch import Tensor


def class_mask(labels: Tensor, classes: Tensor) -> Tensor:
    """Mark the pixels of labels (H, W) that belong to one of `classes` (K,): (H, W) bool."""
    return torch.isin(labels, classes)


def paste(mask: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Lay the masked source over the target: mask (B, H, W) bool over (B, H, W) or (B, K, H, W)."""
    return torch.where(mask if source.ndim == mask.ndim else mask[:, None], source, target)
