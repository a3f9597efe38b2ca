"""Any encoder of segmentation-models-pytorch (its timm ones too) as a plain pyramid of stages."""

import math
from typing import Literal, cast

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sepico_pl.types import InputError

Norm = Literal["batch", "group"]


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
    """A pyramid of feature maps.

    Args:
        name: of an encoder of segmentation-models-pytorch; `tu-<name>` for timm's.
        weights: name of its pretrained weights ("imagenet", ...), or None to start from scratch.
        norm: "batch" as the encoder has it, or "group" for a network without batch norm.

    Attributes:
        channels: of each stage, finest first.
    """

    def __init__(self, *, name: str, weights: str | None, norm: Norm) -> None:
        """Build the encoder.

        Raises:
            InputError: for an unknown name or weights, or where weights cannot be fetched.
        """
        super().__init__()
        self.network = _smp_encoder(name, weights)
        widths = cast(list[int], self.network.out_channels)
        self.channels = tuple(width for width in widths[1:] if width)
        if norm == "group":
            replace_batch_norm(self.network)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the stages (B, channels[i], h_i, w_i) of images (B, 3, H, W), finest first."""
        return [stage for stage in self.network(image)[1:] if stage.shape[1]]


def _smp_encoder(name: str, weights: str | None) -> nn.Module:
    try:
        encoder: nn.Module = smp.encoders.get_encoder(name, weights=weights)
    except (KeyError, RuntimeError, ValueError) as error:
        hint = "smp.encoders.get_encoder_names() lists the names; timm encoders are tu-<name>"
        message = f"backbone.name={name}, backbone.weights={weights}: {_first_line(error)}; {hint}"
        raise InputError(message) from error
    except OSError as error:
        message = (
            f"backbone.weights={weights}: the weights of {name} could not be fetched "
            f"({_first_line(error)}); connect to the network once, or set backbone.weights=null"
        )
        raise InputError(message) from error
    return encoder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
