"""A trained network as one uses it elsewhere: an image in, classes out.

Shapes: B batch, C classes, H, W image size, h, w input size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from torch import Tensor, nn

from sepico_pl.assembly import REFUSALS, Config, build
from sepico_pl.data.geometry import fitted_size, resize_image
from sepico_pl.model.allocation import bounded_by
from sepico_pl.model.encoder import Encoder
from sepico_pl.model.inference import Inference
from sepico_pl.model.segmentor import Segmentor
from sepico_pl.model.weight_files import write_safetensors
from sepico_pl.model.weights import read_file, take_over
from sepico_pl.plain_data import check_file_config
from sepico_pl.quoting import first_line
from sepico_pl.serving.card import model_card
from sepico_pl.serving.images import ImageLike, to_rgb
from sepico_pl.types import ByteArray, ClassSet, InputError

ENCODER_STRIDE = 32
"""Pixels to one of the coarsest stage; the shorter side of an input has at least so many."""


class SegmentationModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="sepico_pl",
    pipeline_tag="image-segmentation",
    tags=["semantic-segmentation", "domain-adaptation"],
):
    """Encoder and decode head with all that is needed to use them.

    `sepico_pl.load` makes one of a checkpoint. `save_pretrained`, `from_pretrained` and
    `push_to_hub` are the Hugging Face hub's.

    Args:
        backbone: `_target_` and keywords of the encoder; its pretrained weights are never fetched.
        decode: `_target_` and keywords of the decode head.
        class_names: in the order of their ids.
        palette: RGB (0..255) of each class.
        input_size: height and width that images are resized into, keeping their aspect ratio.
        mean: of each channel in [0, 1], taken off by the network.
        std: of each channel; the network divides by it.
        provenance: what the weights come from, for people.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        backbone: Config,
        decode: Config,
        class_names: list[str],
        palette: list[list[int]],
        input_size: list[int],
        mean: list[float],
        std: list[float],
        provenance: dict[str, str],
    ) -> None:
        """Build the network, with random weights, for evaluation.

        Raises:
            InputError: for a part that is none of sepico_pl's.
        """
        super().__init__()
        check_file_config(
            {
                "backbone": backbone,
                "head": {"decode": decode},
                "data": {"target_size": input_size},
                "classes": [class_names, palette, mean, std, provenance],
            },
            "config.json",
        )
        encoder: Encoder = build("backbone", {**backbone, "weights": None})
        head = build("head.decode", decode, channels=encoder.channels, num_classes=len(class_names))
        self.network = Segmentor(encoder, head, None)
        self.classes = ClassSet(
            tuple(class_names), tuple((red, green, blue) for red, green, blue in palette)
        )
        self.input_size = (input_size[0], input_size[1])
        self.provenance = provenance
        self.backbone, self.decode = backbone, decode
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights with their digest, by which damage is noticed when they are loaded."""
        write_safetensors(save_directory / SAFETENSORS_SINGLE_FILE, self.state_dict())

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **given: Any) -> Self:  # noqa: ANN401
        """Load a model from a folder of `save_pretrained`'s, or from the Hugging Face hub.

        Args:
            pretrained_model_name_or_path: the folder, or `<user>/<name>` on the hub.
            given: `revision`, `token` and so on, see `huggingface_hub.PyTorchModelHubMixin`.

        Raises:
            InputError: if its config.json or its weights are not those of such a model.
        """
        try:
            model: Self = super().from_pretrained(pretrained_model_name_or_path, **given)
        except OSError:  # what the hub answers
            raise
        except InputError as error:
            message = f"{pretrained_model_name_or_path}: {error}"
            raise InputError(message) from error
        except (*REFUSALS, RecursionError) as error:
            message = (
                f"{pretrained_model_name_or_path}: its config.json is not one of "
                f"save_pretrained's ({first_line(error)})"
            )
            raise InputError(message) from error
        return model

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        **parts: Any,  # noqa: ANN401
    ) -> Self:
        """Take whole weights only: the mixin's own default leaves what is missing random.

        They come first, as they bound what is built.

        Raises:
            InputError: for weights that are damaged, or not those of the configuration.
        """
        file = Path(model_id) / SAFETENSORS_SINGLE_FILE
        if not Path(model_id).is_dir():
            fetched = hf_hub_download(
                model_id,
                SAFETENSORS_SINGLE_FILE,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
            file = Path(fetched)
        weights = read_file(file, "weights")
        with bounded_by(weights, CONFIG_NAME):
            model = cls(**parts)
        take_over(model, weights, f"weights={file}")
        return model.to(map_location)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C, H, W) of RGB images (B, 3, H, W) in [0, 1]."""
        logits: Tensor = self.network((image - self.mean) / self.std)
        return logits

    def predict(self, image: ImageLike) -> ByteArray:
        """Return the class ids (H, W) uint8 of an image, at its own size.

        Args:
            image: a file, a Pillow image or a uint8 array: see `serving.images.to_rgb`.

        Raises:
            InputError: for what is no image.
        """
        return np.asarray(self._logits(image).argmax(dim=0).byte().cpu())

    def probabilities(self, image: ImageLike) -> Tensor:
        """Return the probability of each class (C, H, W) float32, on the CPU; see `predict`."""
        return self._logits(image).softmax(dim=0).cpu()

    def _logits(self, image: ImageLike) -> Tensor:
        pixels = to_rgb(image)
        with torch.inference_mode():
            return Inference()(self, self.input_of([pixels]), pixels.shape[:2])[0]

    def input_of(self, images: Sequence[ByteArray]) -> Tensor:
        """Return images (H, W, 3) of one size as (B, 3, h, w) in [0, 1], on the network's device.

        Resized into the input size, keeping the aspect ratio, as training judges them.
        """
        least = min(ENCODER_STRIDE, *self.input_size)
        sides = fitted_size(images[0].shape[:2], self.input_size)
        size = [max(least, side) for side in sides]
        resized = np.stack([resize_image(image, size) for image in images])
        channels_first = torch.from_numpy(resized.transpose(0, 3, 1, 2).copy())
        return channels_first.to(self.mean) / 255

    def generate_model_card(self, *args: object, **kwargs: object) -> ModelCard:
        """Return the README that `save_pretrained` and `push_to_hub` write."""
        return model_card(
            self._hub_mixin_info.model_card_data,
            backbone=self.backbone,
            decode=self.decode,
            classes=self.classes,
            input_size=self.input_size,
            provenance=self.provenance,
        )
