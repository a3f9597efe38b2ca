"""A model as a program that runs without this code: torch.export's, and ONNX.

Shapes: B batch, C classes, H, W image size.
"""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from sepico_pl.quoting import first_line
from sepico_pl.serving.model import SegmentationModel
from sepico_pl.types import InputError

LEAST_SIDE = 64
"""Least H and W of a program: the coarsest stage needs more than one pixel each way."""
TRACED_SHAPE = (2, 3, 97, 131)
TOLERANCE = 1e-4
METADATA = "sepico_pl.json"


def traced(model: SegmentationModel) -> ExportedProgram:
    """Return the model as a program from (B, 3, H, W) to (B, C, H, W), for any B, H and W.

    Raises:
        InputError: if the network can only be traced for images of one size.
    """
    side = Dim.DYNAMIC(min=LEAST_SIDE)
    sizes = {0: Dim.DYNAMIC(min=1), 2: side, 3: side}
    try:
        with torch.no_grad():
            return torch.export.export(model, (torch.rand(TRACED_SHAPE),), dynamic_shapes=(sizes,))
    except Exception as error:  # torch.export raises whatever it met
        raise no_program("torch", error) from error


def write_torch(program: ExportedProgram, model: SegmentationModel, path: Path) -> float:
    """Write a `.pt2` file, load it again and compare it with the model.

    Returns:
        See `largest_difference`.

    Raises:
        InputError: if it differs.
    """
    content = BytesIO()  # on a full disk torch's own writer of files ends the process
    torch.export.save(program, content, extra_files={METADATA: json.dumps(metadata_of(model))})
    path.write_bytes(content.getbuffer())
    return largest_difference("torch", torch.export.load(path).module(), model)


def write_onnx(program: ExportedProgram, model: SegmentationModel, path: Path) -> float:
    """Write an `.onnx` file, open it in onnxruntime and compare it with the model.

    Returns:
        See `largest_difference`.

    Raises:
        InputError: if it cannot be made, or differs.
    """
    import onnxruntime  # type: ignore[import-untyped]

    try:
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
            external_data=False,
            verbose=False,
        )
        assert onnx is not None
        onnx.model.metadata_props.update(metadata_of(model))
        onnx.save(path, external_data=False)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it meets is raised anyway
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    except Exception as error:  # the exporter and the runtime raise whatever they met
        raise no_program("onnx", error) from error

    def run(image: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"image": image.numpy()})[0])

    return largest_difference("onnx", run, model)


def largest_difference(
    form: str, program: Callable[[Tensor], Tensor], model: SegmentationModel
) -> float:
    """Compare the logits of a program with the model's, on three sizes and batches.

    One size is a multiple of what the network pads to, the others are not.

    Args:
        form: of the program, for messages.
        program: takes images (B, 3, H, W) in [0, 1].
        model: on the CPU.

    Returns:
        The largest absolute difference.

    Raises:
        InputError: if it is above `TOLERANCE`, or a size is refused.
    """
    divisor = model.network.divisor
    whole = -(-LEAST_SIDE // divisor) * divisor
    differences = []
    for shape in ((1, 3, whole, 2 * whole), TRACED_SHAPE, (3, 3, 200, 72)):
        image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                differences.append(float((program(image) - model(image)).abs().max()))
        except Exception as error:  # the runtimes raise whatever they met
            raise no_program(form, error) from error
    if not max(differences) <= TOLERANCE:
        message = (
            f"formats: {form} differs from PyTorch by {max(differences):.1e}, more than "
            f"{TOLERANCE:.0e}, and was not kept; leave {form} out"
        )
        raise InputError(message)
    return max(differences)


def metadata_of(model: SegmentationModel) -> dict[str, str]:
    """Return what one must know to use a program, as texts (JSON for lists)."""
    height, width = model.input_size
    return {
        "class_names": json.dumps(model.classes.names),
        "palette": json.dumps(model.classes.palette),
        "input_size": json.dumps(model.input_size),
        "input": "image: RGB float32 (batch, 3, height, width) in [0, 1], not normalised, sides of "
        f"at least {LEAST_SIDE}; photographs resized to fit in {height}x{width} (height x width)",
        "output": "logits: float32 (batch, classes, height, width); argmax gives class ids",
        "provenance": json.dumps(model.provenance),
    }


def no_program(form: str, error: Exception) -> InputError:
    """Say that a network cannot be had in a form."""
    return InputError(
        f"formats: this network cannot be exported as {form} for images of any size "
        f"({first_line(error)}); "
        f"leave {form} out; docs/using.md lists what works"
    )
