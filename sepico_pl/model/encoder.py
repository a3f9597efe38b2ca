"""Encoders: images to stages, finest first. Here any of segmentation-models-pytorch and of timm."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sepico_pl.model.allocation import shapes_unfilled
from sepico_pl.model.weights import adopt_file, is_classifier
from sepico_pl.quoting import first_line
from sepico_pl.types import InputError

Norm = Literal["batch", "group"]
TIMM = "tu-"
PROBED_SIDE = 64


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a GroupNorm of at most 32 groups (Wu and He 2018) for any number of channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def replace_batch_norm(module: nn.Module) -> None:
    """Put GroupNorm in the place of every batch norm below `module`, keeping a fused activation."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            activation = getattr(child, "act", None)
            norm: nn.Module = group_norm(child.num_features)
            fused = nn.Sequential(norm, activation) if isinstance(activation, nn.Module) else norm
            setattr(module, name, fused)
        else:
            replace_batch_norm(child)


class Encoder(nn.Module):
    """Images (B, 3, H, W) to stages (B, channels[i], h_i, w_i), finest first.

    Args:
        network: what pretrained weights belong to; it learns at the encoder's rate.

    Attributes:
        divisor: what H and W must be a multiple of.
        channels: of each stage.
        strides: H / h_i of each stage (3.5 is possible).
    """

    divisor = 1
    channels: tuple[int, ...]
    strides: tuple[float, ...]

    def __init__(self, network: nn.Module) -> None:
        """Hold the network."""
        super().__init__()
        self.network = network

    def measure(self) -> None:
        """Read `channels` and `strides` off the stages of a small image."""
        side = PROBED_SIDE // self.divisor * self.divisor
        was_training = self.training
        self.eval()
        with torch.no_grad():
            stages = self(torch.zeros(1, 3, side, side))
        self.train(was_training)
        self.channels = tuple(stage.shape[1] for stage in stages)
        self.strides = tuple(side / stage.shape[-1] for stage in stages)


class SmpEncoder(Encoder):
    """An encoder of segmentation-models-pytorch, or through it one of timm.

    Args:
        name: of the encoder; `tu-<name>` for timm's.
        weights: "imagenet", a file, or None to start from scratch.
        norm: "batch" as the encoder has it, or "group" for a network without batch norm.
        output_stride: 32, or 16 or 8 for convolutional encoders that can be dilated.
    """

    def __init__(self, *, name: str, weights: str | None, norm: Norm, output_stride: int) -> None:
        """Build the encoder.

        Raises:
            InputError: for an unknown name or weights, for an encoder that is no pyramid or cannot
                have the stride, or where weights cannot be fetched.
        """
        if name.startswith("mit_") and output_stride != 32:  # smp would dilate its attention
            message = (
                f"backbone.output_stride={output_stride}: {name} has only 32; "
                "convolutional encoders (resnet50, tu-convnext_tiny) can have 8 or 16"
            )
            raise InputError(message)
        refuse_remote(name)
        hub, file = weights_source(weights)
        with fetching(name, weights), shapes_unfilled():
            pretrained = True if hub and name.startswith(TIMM) else hub
            network: nn.Module = smp.encoders.get_encoder(
                name, weights=pretrained, output_stride=output_stride
            )
        if file is not None:
            adopt_file(network, file, _unneeded(name))
        if norm == "group":
            replace_batch_norm(network)
        super().__init__(network)
        self._measure_or_refuse(name)

    def _measure_or_refuse(self, name: str) -> None:
        try:
            self.measure()
        except (AssertionError, RuntimeError, ValueError) as error:
            message = (
                f"backbone.name={name} does not take images of every size "
                f"({first_line(error)}); choose one that does: tu-convnext_*, tu-pvt_v2_*, resnet*"
            )
            raise InputError(message) from error

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the stages; smp's empty ones, and its first, the image, are left out."""
        return [stage for stage in self.network(image)[1:] if stage.shape[1]]


def _unneeded(name: str) -> Callable[[str], bool]:
    """Tell what a file may hold besides a pyramid: for timm, exactly what the classifier has."""
    if not name.startswith(TIMM):
        return is_classifier
    with torch.device("meta"):
        whole = timm.create_model(name.removeprefix(TIMM)).state_dict().keys()
    return lambda key: key in whole


def refuse_remote(name: str) -> None:
    """Refuse what is no architecture of timm's own: it would be looked for on a hub or a disk.

    Raises:
        InputError: naming it.
    """
    if ":" in name:
        message = (
            f"backbone.name={name}: an encoder is built from timm's own architectures, never "
            "fetched by its name; give one of timm.list_models(), and backbone.weights=<file>"
        )
        raise InputError(message)


def weights_source(weights: str | None) -> tuple[str | None, Path | None]:
    """Tell a name of pretrained weights ("imagenet") from a file.

    Returns:
        The name or None, the file or None.
    """
    if weights is None or not {"/", "."} & set(weights):
        return weights, None
    return None, Path(weights).expanduser()


@contextmanager
def fetching(name: str, weights: str | None) -> Iterator[None]:
    """Explain why an encoder cannot be built or its weights not be fetched.

    Raises:
        InputError: naming encoder and weights, and what to do.
    """
    try:
        yield
    except InputError:
        raise
    except (KeyError, RuntimeError, ValueError, TypeError, AssertionError, AttributeError) as error:
        hint = (
            "smp.encoders.get_encoder_names() lists the names, timm encoders are tu-<name>, and "
            "plain vision transformers go with backbone=dinov2_small backbone.name=<timm's name>"
        )
        message = f"backbone.name={name}, backbone.weights={weights}: {first_line(error)}; {hint}"
        raise InputError(message) from error
    except OSError as error:
        message = (
            f"backbone.weights={weights}: the weights of {name}{_published(name, weights)} could "
            f"not be fetched ({first_line(error)}); connect to the network once, give that file "
            "as backbone.weights=<file>, or set backbone.weights=null"
        )
        raise InputError(message) from error


def _published(name: str, weights: str | None) -> str:
    """Say which file of the hub holds the weights, as far as smp and timm know."""
    known = smp.encoders.encoders.get(name)
    if known is not None:
        repository = known["pretrained_settings"].get(weights, {}).get("repo_id")
    else:
        published = timm.get_pretrained_cfg(name.removeprefix(TIMM), allow_unregistered=True)
        repository = getattr(published, "hf_hub_id", None)
    return f" (model.safetensors of {repository} on the Hugging Face hub)" if repository else ""
