"""The network and device that a command asks, and how: the keys of conf/protocol.yaml."""

import torch

from sepico_pl.adapt.class_weights import log_frequency_weights
from sepico_pl.data.classes import CITYSCAPES
from sepico_pl.limits import ASKING, check_limits
from sepico_pl.model.inference import Inference
from sepico_pl.types import Config, InputError

DEVICES = {"auto": None, "cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}


def inference_of(plain: Config, num_classes: int) -> Inference:
    """Return the way of asking a network of `num_classes` that was chosen.

    Raises:
        InputError: for class weights of other classes, or a way that cannot be.
    """
    check_limits(plain, ASKING)
    weights = None
    if plain["class_weights_deviation"]:
        if num_classes != len(CITYSCAPES):
            message = (
                f"class_weights_deviation: the weights are Cityscapes' 19, the checkpoint has "
                f"{num_classes} classes; leave it at 0"
            )
            raise InputError(message)
        weights = log_frequency_weights(plain["class_weights_deviation"])
    return Inference(
        scales=plain["scales"],
        flip=plain["flip"],
        window=plain["window"],
        stride=plain["stride"],
        class_weights=weights,
    )


def device_of(accelerator: str, index: int = 0) -> torch.device:
    """Return the device that `accelerator` names; "auto" is the GPU where there is one.

    Args:
        accelerator: the kind of device.
        index: of the GPU; there is a CPU for each.

    Raises:
        InputError: for an unknown one, or a GPU where there is none, or not as many.
    """
    if accelerator not in DEVICES:
        message = f"accelerator={accelerator} is unknown; choose auto, cpu or gpu"
        raise InputError(message)
    has_gpu = torch.cuda.is_available()
    device = DEVICES[accelerator] or ("cuda" if has_gpu else "cpu")
    if device == "cuda" and not has_gpu:
        message = f"accelerator={accelerator}: there is no GPU here; choose auto or cpu"
        raise InputError(message)
    if device == "cpu":
        return torch.device(device)
    if index >= torch.cuda.device_count():
        message = (
            f"devices={index + 1}: GPUs here: {torch.cuda.device_count()}; choose as many or fewer"
        )
        raise InputError(message)
    return torch.device(device, index)
