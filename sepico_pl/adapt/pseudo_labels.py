"""Pseudo-labels: the teacher's vote on target images, and how far a batch of them is trusted.

Shapes: B batch, C classes, H, W image size.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sepico_pl.ranks import number_of_ranks, sum_over_ranks
from sepico_pl.types import InputError, TargetBatch


class PseudoLabels(NamedTuple):
    """Most likely classes (B, H, W) int64 and their probability (B, H, W) in [0, 1]."""

    label: Tensor
    confidence: Tensor


class Classifier(Protocol):
    """Images (B, 3, H, W) to class probabilities (B, C, H, W)."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return probabilities (B, C, H, W) of images (B, 3, H, W)."""
        ...


class Vote(Protocol):
    """A target batch to class scores (B, C, H, W), by asking a teacher."""

    def __call__(self, teacher: Classifier, target: TargetBatch) -> Tensor:
        """Return class scores (B, C, H, W) of a target batch."""
        ...


def teacher_vote(teacher: Classifier, target: TargetBatch) -> Tensor:
    """Return the teacher's probabilities for the target image, (B, C, H, W)."""
    return teacher(target["image"])


def most_likely(probabilities: Tensor) -> PseudoLabels:
    """Take the maximum over classes of (B, C, H, W)."""
    confidence, label = probabilities.max(dim=1)
    return PseudoLabels(label, confidence)


def mixing_weight(confidence: Tensor, threshold: float) -> Tensor:
    """Return the share of all ranks' pixels with `confidence >= threshold`, in [0, 1].

    One trust for all target pixels (DACS, Tranheden et al. 2021).
    """
    share = (confidence >= threshold).to(confidence.dtype).mean()
    return sum_over_ranks(share) / number_of_ranks()


class IgnoredRows:
    """Rows of a target crop without weight: rectification border above, ego car below.

    Args:
        top: rows at the top of a crop `per` pixels high; >= 0.
        bottom: rows at its bottom; >= 0.
        per: the crop height that `top` and `bottom` are meant for; they scale with the actual one.
    """

    def __init__(self, top: int, bottom: int, per: int) -> None:
        """Remember the rows.

        Raises:
            InputError: for rows that are negative or leave nothing of the crop.
        """
        if top < 0 or bottom < 0 or top + bottom >= per:
            message = (
                f"adapt.ignored_rows: top {top} and bottom {bottom} leave nothing of {per} rows; "
                "give rows >= 0 that add up to less than `per`"
            )
            raise InputError(message)
        self.top, self.bottom, self.per = top, bottom, per

    def pixel_weights(self, confidence: Tensor, weight: Tensor) -> Tensor:
        """Spread a scalar weight over (B, H, W), with 0 in the ignored rows."""
        height = confidence.shape[-2]
        weights = weight.expand_as(confidence).clone()
        top, bottom = (round(rows * height / self.per) for rows in (self.top, self.bottom))
        weights[:, :top] = 0
        weights[:, height - bottom :] = 0
        return weights


# Classes whose place barely shifts between a night image and its day reference: train ids 0-4 and
# 8-10.
STATIC_CLASSES = (0, 1, 2, 3, 4, 8, 9, 10)
VOTING_CLASSES = 19


def blend_day_night(
    night: Tensor,
    day: Tensor,
    class_weights: Tensor | None = None,
    day_share: float = 0.8,
    confident: float = 0.4,
) -> Tensor:
    """Vote on a night image with the help of its day reference (SePiCo, Cityscapes to Dark Zurich).

    On the static classes the vote is w day + (1 - w) night with w = `day_share` where the day
    probability exceeds `confident` and 1 - `day_share` elsewhere; on all others it is the night's
    alone.

    Args:
        night: (B, C, H, W) probabilities, C = 19 Cityscapes classes.
        day: (B, C, H, W) probabilities of the reference.
        class_weights: (C,) factors of the vote, not renormalised; None for none.
        day_share: w, in [0, 1].
        confident: day probability above which the day leads.

    Returns:
        (B, C, H, W) scores.
    """
    static = torch.zeros(night.shape[1], dtype=torch.bool, device=night.device)
    static[list(STATIC_CLASSES)] = True
    weight = torch.where(day > confident, day_share, 1 - day_share).to(night.dtype)
    vote = torch.where(static[:, None, None], weight * day + (1 - weight) * night, night)
    return vote if class_weights is None else vote * class_weights[:, None, None]


class DayNightVote:
    """Labels a night image with the help of its day reference (see `blend_day_night`).

    Args:
        day_share: w of the static classes where the day is confident, in [0, 1].
        confident: day probability above which the day leads, in [0, 1].
        class_weights: (C,) factors of the vote; None for none.
    """

    def __init__(
        self, *, day_share: float, confident: float, class_weights: Tensor | None = None
    ) -> None:
        """Remember how to vote.

        Raises:
            InputError: for a share or probability outside [0, 1].
        """
        for key, value in (("day_share", day_share), ("confident", confident)):
            if not 0 <= value <= 1:
                message = f"vote.{key}={value} must lie in [0, 1]"
                raise InputError(message)
        self.day_share, self.confident = day_share, confident
        self.class_weights = class_weights

    def __call__(self, teacher: Classifier, target: TargetBatch) -> Tensor:
        """Return class scores (B, C, H, W) of a target batch.

        Raises:
            InputError: if the batch has no references, or the classes are not Cityscapes' 19.
        """
        if "reference" not in target:
            message = (
                "vote=day_night: the target has no day references; choose a target that has "
                "(dark_zurich, or acdc with dataset.target.references=true), or vote=teacher"
            )
            raise InputError(message)
        night, day = teacher(target["image"]), teacher(target["reference"])
        if night.shape[1] != VOTING_CLASSES:
            message = f"vote=day_night knows Cityscapes' 19 classes, here are {night.shape[1]}"
            raise InputError(message)
        weights = self.class_weights
        return blend_day_night(
            night,
            day,
            None if weights is None else weights.to(night),
            day_share=self.day_share,
            confident=self.confident,
        )
