"""What `import_official` does: turn an official checkpoint into one of ours."""

from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sepico_pl.architecture import Architecture
from sepico_pl.assembly import Config, build_data, build_task, plain_config
from sepico_pl.checkpoints import refuse_to_overwrite, save
from sepico_pl.official import OfficialCheckpoint, account, read_official
from sepico_pl.types import InputError


def import_official(config: DictConfig) -> OfficialCheckpoint:
    """Turn an official checkpoint into one of ours; print what became of each of its keys.

    Returns:
        The official checkpoint, as it was read.
    """
    official = read_official(Path(config.checkpoint))
    plain = compose_for(official)
    output = Path(plain.pop("output"))
    plain.pop("checkpoint")
    refuse_to_overwrite(output)
    data = build_data(plain)
    classes, found = data.pair.classes, Architecture(official.student, official.path).num_classes
    if len(classes) != found:
        message = (
            f"checkpoint={official.path} has {found} classes and the data set {len(classes)}; "
            "choose a dataset=<name> with as many"
        )
        raise InputError(message)
    task = build_task(plain, data.pair)
    teacher = getattr(task, "teacher", None)
    official.load_into(task.student, None if teacher is None else teacher.network)
    save(output, task, plain)
    print("\n".join(account(official)))
    print(f"written: {output}")
    return official


def compose_for(official: OfficialCheckpoint) -> Config:
    """Configure the network that a checkpoint holds; what the command line says comes last."""
    architecture = Architecture(official.student, official.path)
    typed = list(HydraConfig.get().overrides.task)
    keys = {override.split("=")[0].lstrip("+") for override in typed}
    chosen = architecture.overrides()
    if not architecture.has_projection:
        chosen.append("adapt=none" if official.teacher is None else "adapt=self_training")
    chosen = [override for override in chosen if override.split("=")[0] not in keys]
    return plain_config(compose("import_official", [*chosen, *typed]))
