"""The Mix Transformer of SegFormer (Xie et al., NeurIPS 2021), as DAFormer and SePiCo use it.

The implementation is segmentation-models-pytorch's, which falls under NVIDIA's non-commercial
licence, and so do the pretrained weights. Encoders of its kind that are free of it: timm's PVT-v2
(`backbone=pvt_v2`) and ConvNeXt (`backbone=convnext`).
"""

import copy

import segmentation_models_pytorch as smp
from torch import Tensor

from sepico_pl.model.encoder import Encoder, fetching, weights_source
from sepico_pl.model.weights import adopt_file, take_over
from sepico_pl.types import InputError

WIDENING = (1, 2, 5, 8)


class MixTransformer(Encoder):
    """A hierarchical vision transformer with stages at strides 4, 8, 16, 32.

    Args:
        variant: "b0" to "b5".
        width: channels of the first stage; the others have 2, 5 and 8 times as many. The published
            ones have 32 (b0) and 64.
        drop_path: largest rate of stochastic depth, in [0, 1); it grows linearly from 0.
        weights: "imagenet" (SegFormer's), a file (SegFormer's `mit_b*.pth`), or None.
    """

    def __init__(self, *, variant: str, width: int, drop_path: float, weights: str | None) -> None:
        """Build the encoder.

        Raises:
            InputError: for an unknown variant, or weights that cannot be had or do not fit.
        """
        known = smp.encoders.encoders.get(f"mit_{variant}")
        if known is None:
            message = f"backbone.variant={variant} is unknown; choose b0, b1, b2, b3, b4 or b5"
            raise InputError(message)
        channels = [width * factor for factor in WIDENING]
        parameters = {
            **copy.deepcopy(known["params"]),
            "embed_dims": channels,
            "out_channels": [3, 0, *channels],
            "drop_path_rate": drop_path,
        }
        network = known["encoder"](**parameters, depth=5, output_stride=32)
        name, file = weights_source(weights)
        if name is not None:
            with fetching(f"mit_{variant}", name):
                published = smp.encoders.get_encoder(f"mit_{variant}", weights=name)
            take_over(network, published.state_dict(), f"backbone.weights={name}")
        elif file is not None:
            adopt_file(network, file)
        super().__init__(network)
        self.measure()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four stages."""
        stages: list[Tensor] = self.network(image)[2:]
        return stages
