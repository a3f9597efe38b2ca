"""A SePiCo on a network small enough to count bytes by hand, and batches for it."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from sepico_pl.adapt.pseudo_labels import IgnoredRows, teacher_vote
from sepico_pl.augment.appearance import StrongAugmentation
from sepico_pl.augment.balanced_crop import ClassBalancedCrop
from sepico_pl.augment.chance import Chance
from sepico_pl.augment.masking import BlockMask
from sepico_pl.contrast.modes import (
    BankContrast,
    DistributionContrast,
    MultiStageContrast,
    PrototypeContrast,
)
from sepico_pl.model.heads import LightHead
from sepico_pl.model.projection import ProjectionHead, ProjectionInput
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.module import SePiCo
from sepico_pl.optim import AdamWPoly
from sepico_pl.types import ClassSet

CLASSES = 4
MODES = {"prototype": PrototypeContrast, "bank": BankContrast, "distribution": DistributionContrast}
STRONG = StrongAugmentation(
    jitter_probability=0.8, jitter_strength=0.2, blur_probability=0.5, blur_sigma=(0.15, 1.15)
)


class TinyEncoder(nn.Module):
    """Two strided convolutions with batch norm and dropout."""

    channels = (8, 16)
    divisor = 1

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.coarse = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1)
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        fine = self.fine(image)
        return [fine, self.coarse(fine)]


def student(
    *, projected: bool = True, classes: int = CLASSES, stages: ProjectionInput = "last"
) -> Segmentor:
    torch.manual_seed(0)
    encoder = TinyEncoder()
    channels = encoder.channels
    head = LightHead(channels=channels, num_classes=classes, width=8, dropout=0.1, norm="batch")
    projection = ProjectionHead(channels=channels, width=8, depth=2, stages=stages, norm="batch")
    return Segmentor(encoder, head, projection if projected else None)


def parts(network: Segmentor, seed: int = 0, classes: int = CLASSES) -> dict:
    optimizer = AdamWPoly(
        learning_rate=1e-2,
        head_factor=1.0,
        weight_decay=0.1,
        warmup_steps=1,
        warmup_start=0.5,
        power=1.0,
    )
    return {
        "student": network,
        "classes": ClassSet(tuple("abcdefghijklmnopqrs"[:classes]), ((0, 0, 0),) * classes),
        "optimizer": optimizer,
        "batch_norm": "running",
        "strong": STRONG,
        "chance": Chance(seed),
    }


def sepico(
    mode: str | None = "distribution",
    *,
    start: int = 1,
    weight: float = 1.0,
    classes: int = CLASSES,
    class_weights: torch.Tensor | None = None,
    stages: ProjectionInput = "last",
    masking: BlockMask | None = None,
) -> SePiCo:
    contrast = None
    network = student(projected=mode is not None, classes=classes, stages=stages)
    if mode is not None:
        length = {"length": 3} if mode == "bank" else {}
        contrast = MultiStageContrast(
            [
                MODES[mode](
                    num_classes=classes,
                    width=width,
                    temperature=0.1,
                    weight=weight,
                    diversity_weight=0.0,
                    min_share=0.5,
                    **length,
                )
                for width in network.projection.widths
            ]
        )
    return SePiCo(
        **parts(network, classes=classes),
        class_weights=class_weights,
        contrast=contrast,
        masking=masking,
        vote=teacher_vote,
        crop=ClassBalancedCrop(size=(16, 16), tries=3, largest_share=0.75),
        ignored_rows=IgnoredRows(0, 1, 16),
        teacher_decay=0.9,
        confidence_threshold=0.3,
        contrast_start=start,
    )


def batches(count: int = 4) -> list[dict]:
    dice = torch.Generator().manual_seed(5)
    result = []
    for _ in range(count):
        label = torch.randint(0, CLASSES, (2, 4, 4), generator=dice)
        label = label.repeat_interleave(4, 1).repeat_interleave(4, 2)
        source = {"image": torch.randn(2, 3, 16, 16, generator=dice), "label": label}
        target = {"image": torch.randn(2, 3, 16, 32, generator=dice)}
        result.append({"source": source, "target": target})
    return result


class Data(pl.LightningDataModule):
    """Training batches, with one image of each domain to judge after every step."""

    domains = ("target", "source")

    def __len__(self) -> int:
        return len(batches())

    def train_dataloader(self) -> DataLoader:
        return DataLoader(batches(), batch_size=None)

    def val_dataloader(self) -> list[DataLoader]:
        dice = torch.Generator().manual_seed(6)
        truth = torch.arange(CLASSES).repeat(32, 16)[None]
        image = {"image": torch.randn(1, 3, 16, 32, generator=dice), "label": truth}
        return [DataLoader([image], batch_size=None, generator=dice) for _ in range(2)]

    def statistics_images(self, device: torch.device) -> list[torch.Tensor]:
        return [batch["target"]["image"].to(device) for batch in batches()]


def fit(task: pl.LightningModule, data: list[dict] | Data, **settings: object) -> pl.Trainer:
    torch.manual_seed(7)
    trainer = pl.Trainer(
        **{"max_steps": len(data), "logger": False, **settings},
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data if isinstance(data, Data) else DataLoader(data, batch_size=None))
    return trainer


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)
