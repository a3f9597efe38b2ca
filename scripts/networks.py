"""Size, cost and speed of every backbone x head that `conf` names: the table of docs/networks.md.

    python scripts/networks.py [--backbones NAME ...] [--heads NAME ...] [--output FILE]

A step is a whole training step of SePiCo (distribution contrast): three teacher and three student
passes, three backward passes, one optimizer step. On the CPU (one thread, float32): source crops
64x64, target images 64x128, batch 2; on a CUDA GPU, where there is one: 640x640, 640x1280, batch 2.
Each row runs in a process of its own: the median of the steps after the first, and the most memory
held above what the imports hold. GMACs are those of one student forward of a 640x640 image.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from sepico_pl.assembly import build_data, build_task, plain_config
from sepico_pl.judging import be_quiet
from sepico_pl.types import InputError

CONF = Path(__file__).resolve().parents[1] / "conf"
OUTPUT = CONF.parent / "docs" / "networks.md"
CPU_CROP, CUDA_CROP = 64, 640
BATCH = 2
STEPS = 4
HEADER = (
    "| backbone | head | parameters, M | GMACs at 640x640 | CPU: memory, MB | CPU: s/step "
    "| GPU: memory, GB | GPU: s/step |\n|---|---|---|---|---|---|---|---|"
)


class Clock(pl.Callback):
    """Keeps the seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        """Note the time."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Keep what has passed since."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.start)


def batches(crop: int) -> Iterator[dict[str, dict[str, torch.Tensor]]]:
    """Random images with labels in blocks, so that every class has pixels to contrast."""
    dice = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        cells = torch.randint(0, 9, (BATCH, crop // 32, crop // 32), generator=dice)
        label = cells.repeat_interleave(32, 1).repeat_interleave(32, 2)
        source = {"image": torch.randn(BATCH, 3, crop, crop, generator=dice), "label": label}
        target = {"image": torch.randn(BATCH, 3, crop, 2 * crop, generator=dice)}
        yield {"source": source, "target": target}


def build(backbone: str, head: str, crop: int) -> pl.LightningModule:
    """Build the whole method around one network."""
    size = f"dataset.size=[{CPU_CROP},{2 * CPU_CROP}]"
    choices = [f"backbone={backbone}", f"head={head}", size, "dataset.train_length=8"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = plain_config(compose("run", [*choices, "name=networks", "adapt.contrast_start=0"]))
    task = build_task(plain, build_data(plain).pair)
    task.crop.size = (crop, crop)
    return task


def step(task: pl.LightningModule, crop: int, accelerator: str) -> float:
    """Return the median seconds of a training step after the first."""
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    trainer.fit(task, DataLoader(list(batches(crop)), batch_size=None))
    return statistics.median(clock.seconds[1:])


def row(backbone: str, head: str) -> str:
    """Measure one combination; a combination that is refused says so."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        task = build(backbone, head, CPU_CROP)
    except InputError:
        return f"| {backbone} | {head} | refused: its stages do not halve | | | | | |"
    parameters = sum(p.numel() for p in task.student.parameters()) / 1e6
    seconds = step(task, CPU_CROP, "cpu")
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    cuda = "not measured | not measured"
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        task = build(backbone, head, CUDA_CROP)
        on_gpu = step(task, CUDA_CROP, "cuda")
        cuda = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} | {on_gpu:.3f}"
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        task.student.eval().to("meta")(torch.zeros(1, 3, CUDA_CROP, CUDA_CROP, device="meta"))
    macs = counter.get_total_flops() / 2e9
    return (
        f"| {backbone} | {head} | {parameters:.1f} | {macs:.1f} | {memory:.0f} | {seconds:.2f} "
        f"| {cuda} |"
    )


def names(group: str) -> list[str]:
    """Return the options of a group but those that need a name of the user."""
    files = sorted((CONF / group).glob("*.yaml"))
    return [file.stem for file in files if "???" not in file.read_text()]


def main() -> None:
    """Measure all rows and write the table between the markers of the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=names("backbone"))
    parser.add_argument("--heads", nargs="+", default=names("head"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    chosen = parser.parse_args()
    be_quiet()
    warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
    how = "spawn" if torch.cuda.is_available() else "fork"
    lines = [HEADER]
    print(HEADER, flush=True)
    for backbone in chosen.backbones:
        for head in chosen.heads:
            with multiprocessing.get_context(how).Pool(1) as pool:
                lines.append(pool.apply(row, (backbone, head)))
            print(lines[-1], flush=True)
    page = chosen.output.read_text() if chosen.output.is_file() else "<!-- table --><!-- end -->"
    before, rest = page.split("<!-- table -->")
    table = "\n".join(lines)
    chosen.output.write_text(
        f"{before}<!-- table -->\n{table}\n<!-- end -->{rest.split('<!-- end -->')[1]}"
    )


if __name__ == "__main__":
    main()
