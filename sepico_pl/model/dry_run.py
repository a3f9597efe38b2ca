"""A pass through a network that computes nothing: what its layers refuse is known before data is.

Shapes: B batch, H, W image size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sepico_pl.model.segmentor import Segmentor


class TrainingPass(nn.Module):
    """All that a training step does with a network.

    Args:
        network: that is trained.
    """

    def __init__(self, network: Segmentor) -> None:
        """Hold the network."""
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> None:
        """Decode and embed images (B, 3, H, W)."""
        stages = self.network.encode(image)
        self.network.decode(stages, image.shape[-2:])
        if self.network.projection is not None:
            self.network.embed(stages)


@torch.no_grad()
def dry_run(network: nn.Module, shape: Sequence[int]) -> None:
    """Pass an image without values through a network, in its mode.

    Args:
        network: takes (B, 3, H, W); its parameters and statistics stay as they are.
        shape: B, 3, H, W.

    Raises:
        ValueError: what its layers raise for the shape.
    """
    own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    tensors = {name: value.to("meta") for name, value in own.items()}
    functional_call(network, tensors, (torch.empty(*shape, device="meta"),))
