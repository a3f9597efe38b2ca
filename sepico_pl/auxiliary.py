"""A control of the contrast: cross-entropy in its place, on the same pixels with the same labels.

A contrast adds two things to self-training: a further loss on pixels that it selects, and what that
loss does to their embeddings. The control has the first alone.

Shapes: B batch, C classes, H, W image size, h, w embedding size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sepico_pl.contrast.pixels import labels_at
from sepico_pl.contrast.statistics import at_least_float32
from sepico_pl.model.heads import resize
from sepico_pl.module import SePiCo
from sepico_pl.ranks import count_over_ranks, shared_sum
from sepico_pl.types import IGNORE_INDEX


def cell_cross_entropy(logits: Tensor, cells: Tensor) -> Tensor:
    """Average the cross-entropy over the cells of all ranks that have a class.

    Args:
        logits: (B, C, H, W) of any size; sampled bilinearly at the cells.
        cells: (B, h, w) int64, class ids or 255 for cells to leave out.

    Returns:
        A scalar, at least float32; a zero that keeps the graph if no cell has a class.
    """
    sampled = resize(at_least_float32(logits), cells.shape[-2:])
    total = F.cross_entropy(sampled, cells, ignore_index=IGNORE_INDEX, reduction="sum")
    count = count_over_ranks(int((cells != IGNORE_INDEX).sum()), cells.device)
    return shared_sum(total) / max(count, 1)


class AuxiliaryCrossEntropy(SePiCo):
    """SePiCo with cross-entropy of the decode head where its contrast would be.

    Passes, embeddings, class statistics, selected cells, their labels, start and weight are those
    of the contrast, and as there no class has a weight of its own. The projection head learns
    nothing; temperature and regulariser have no effect. The decode head also sees the target pass:
    its dropout draws there, and its batch norm moves.
    """

    def target_loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of target cells: images (B, 3, H, W), pseudo-labels (B, H, W)."""
        stages = self.student.encode(image)
        return self.auxiliary_loss("target", stages, self.student.head(stages), label)

    def source_loss(self, image: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of source pixels, and of their cells once the contrast would count."""
        stages = self.student.encode(image)
        logits = self.student.head(stages)
        loss = self.cross_entropy(self.student.enlarge(logits, image.shape[-2:]), label)
        if self.contrasts():
            loss = loss + self.auxiliary_loss("source", stages, logits, label)
        return loss + self.untouched()

    def auxiliary_loss(
        self, domain: str, stages: list[Tensor], logits: Tensor, label: Tensor
    ) -> Tensor:
        """Add up, over the embedding maps, the cross-entropy at the cells of each.

        Args:
            domain: "target" or "source", for the log.
            stages: the encoder's.
            logits: the decode head's, (B, C, h', w').
            label: (B, H, W) int64, class ids or 255 for pixels to leave out.
        """
        assert self.contrast is not None
        with torch.no_grad():  # a forward pass moves the projection head's batch norm
            embeddings = self.student.embed(stages)
        losses = []
        for contrast, one in zip(self.contrast.per_map(), embeddings, strict=True):
            size = (one.shape[-2], one.shape[-1])
            cells = labels_at(label, size, len(self.class_names), contrast.min_share)
            losses.append(contrast.weight * cell_cross_entropy(logits, cells))
        loss = torch.stack(losses).sum()
        self.log(f"train/{domain}_auxiliary", loss.detach(), sync_dist=True)
        return loss
