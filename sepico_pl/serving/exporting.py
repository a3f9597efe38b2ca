"""What `export` does: write a network in the forms that other programs read."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from sepico_pl.assembly import plain_config
from sepico_pl.checkpoints import refuse_to_overwrite
from sepico_pl.limits import NETWORK, PATH, OrNull, Rule, check_limits
from sepico_pl.serving.loading import load
from sepico_pl.serving.model import SegmentationModel
from sepico_pl.serving.programs import traced, write_onnx, write_torch
from sepico_pl.tables import full_disk_named
from sepico_pl.types import InputError

PROGRAMS = {"onnx": write_onnx, "torch": write_torch}
FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
FORMATS = (*PROGRAMS, "safetensors")
RULES: dict[str, Rule] = {
    "checkpoint": PATH,
    "output": PATH,
    "network": NETWORK,
    "statistics": OrNull(PATH),
}
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def export(config: DictConfig) -> Path:
    """Write a checkpoint's network in the chosen formats, each checked; all of them or none.

    Returns:
        The folder.

    Raises:
        InputError: for a value that cannot be, or a network that cannot be exported.
    """
    plain = plain_config(config)
    check_limits(plain, RULES)
    given = plain["formats"]
    formats = given if isinstance(given, list) else [str(given)]
    output = Path(plain["output"]).expanduser().absolute()
    refuse_to_overwrite(output)
    check_formats(formats)
    model = load(
        plain["checkpoint"],
        network=plain["network"],
        batch_norm=plain["batch_norm"],
        statistics=plain["statistics"],
        device="cpu",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=".export_") as unfinished:
        folder = Path(unfinished) / output.name
        write_formats(model, formats, folder)
        folder.replace(output)
    origin = model.provenance
    print(
        f"written: {output}, the {origin['network']}, batch norm: {origin['batch_norm']} statistics"
    )
    return output


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that are unknown, or whose packages are missing.

    Raises:
        InputError: naming them.
    """
    unknown = [form for form in formats if form not in FORMATS]
    if unknown or not formats:
        message = f"formats={list(formats)}: choose one or more of {', '.join(FORMATS)}"
        raise InputError(message)
    for form in formats:
        missing = [name for name in NEEDED.get(form, ()) if find_spec(name) is None]
        if missing:
            message = (
                f"formats: {form} needs {', '.join(missing)}; "
                'install with pip install "sepico_pl[export]"'
            )
            raise InputError(message)


def write_formats(model: SegmentationModel, formats: Sequence[str], folder: Path) -> None:
    """Write a model into a new folder, and compare each program with it.

    Raises:
        InputError: for a program that cannot be made, or differs.
    """
    folder.mkdir()
    if "safetensors" in formats:
        with full_disk_named(folder / "model.safetensors"):
            model.save_pretrained(folder)
        print(
            "model.safetensors, config.json, README.md: for sepico_pl.load and the Hugging Face hub"
        )
    chosen = [form for form in PROGRAMS if form in formats]
    if not chosen:
        return
    program = traced(model)
    for form in chosen:
        with full_disk_named(folder / FILES[form]):
            difference = PROGRAMS[form](program, model, folder / FILES[form])
        print(f"{FILES[form]}: differs from PyTorch by {difference:.1e} at most, on three sizes")
