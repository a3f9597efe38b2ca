"""A plain vision transformer (DINOv2, DINOv3, ...) with a small pyramid on four of its blocks.

The pyramid is that of ViTDet (Li et al., ECCV 2022) on features of several depths, as BEiT
(Bao et al., ICLR 2022) has it.
"""

from typing import Any

import timm
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from sepico_pl.model.encoder import Encoder, fetching, refuse_remote, weights_source
from sepico_pl.model.weights import adopt_file
from sepico_pl.types import InputError

STAGES = 4


class PlainViT(Encoder):
    """Stages at a quarter, half, once and twice the patch size, from blocks at equal distances.

    Args:
        name: of a vision transformer of timm, `vit_small_patch14_dinov2` for example.
        drop_path: largest rate of stochastic depth, in [0, 1).
        weights: "imagenet" for the published ones of that name (whatever they were trained on), a
            file with timm's names, or None.
    """

    def __init__(self, *, name: str, drop_path: float, weights: str | None) -> None:
        """Build the encoder.

        Raises:
            InputError: for a name that is no plain vision transformer, or weights that cannot be
                had or do not fit.
        """
        refuse_remote(name)
        hub, file = weights_source(weights)
        with fetching(name, weights):
            network: Any = timm.create_model(
                name,
                pretrained=hub is not None,
                num_classes=0,
                dynamic_img_size=True,
                drop_path_rate=drop_path,
            )
        if file is not None:
            adopt_file(network, file, lambda key: key.startswith("head.") or key == "mask_token")
        super().__init__(network)
        self.divisor = _patch_side(network, name)
        depth, width = len(network.blocks), network.embed_dim
        self.indices = [depth * (stage + 1) // STAGES - 1 for stage in range(STAGES)]
        self.pyramid = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(width, width, 2, 2),
                    LayerNorm2d(width),
                    nn.GELU(),
                    nn.ConvTranspose2d(width, width, 2, 2),
                ),
                nn.ConvTranspose2d(width, width, 2, 2),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        self.measure()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages of images whose sides are multiples of the patch."""
        maps = self.network.forward_intermediates(  # type: ignore[operator]
            image, indices=self.indices, output_fmt="NCHW", norm=True, intermediates_only=True
        )
        return [scale(one) for scale, one in zip(self.pyramid, maps, strict=True)]


def _patch_side(network: nn.Module, name: str) -> int:
    side = getattr(getattr(network, "patch_embed", None), "patch_size", (0, 0))[0]
    if not side or not hasattr(network, "forward_intermediates") or not hasattr(network, "blocks"):
        message = f"backbone.name={name} is no plain vision transformer; choose backbone=smp for it"
        raise InputError(message)
    return int(side)
