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
from pathlib import Path

import torch
from measuring import ROOT, interleaved
from peak_memory import peak_memory
from stepping import Plan, Setting, Step
from torch.utils.flop_counter import FlopCounterMode

from sepico_pl.judging import be_quiet
from sepico_pl.types import InputError

OUTPUT = ROOT / "docs" / "networks.md"
CPU_CROP, CUDA_CROP = 64, 640
BATCH = 2
STEPS = 4
HEADER = (
    "| backbone | head | parameters, M | GMACs at 640x640 | CPU: memory, MB | CPU: s/step "
    "| GPU: memory, GB | GPU: s/step |\n|---|---|---|---|---|---|---|---|"
)


def plan(backbone: str, head: str, crop: int) -> Plan:
    """Say what is trained: the nine classes that occur, on crops of this side."""
    return Plan(backbone, head, crop, BATCH, dataset="streets")


def seconds_of(step: Step) -> float:
    """Return the median seconds of the steps after the first."""
    return interleaved({"step": step.make}, repeats=STEPS - 1, warm_up=1).median("step")


def row(backbone: str, head: str) -> str:
    """Measure one combination; a combination that is refused says so."""
    torch.set_num_threads(1)
    before = peak_memory()
    try:
        step = Step(plan(backbone, head, CPU_CROP), Setting(), "cpu")
    except InputError:
        return f"| {backbone} | {head} | refused: its stages do not halve | | | | | |"
    student = step.task.student
    parameters = sum(p.numel() for p in student.parameters()) / 1e6
    seconds = seconds_of(step)
    memory = (peak_memory() - before) / 2**20
    cuda = "not measured | not measured"
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        on_gpu = seconds_of(Step(plan(backbone, head, CUDA_CROP), Setting(), "cuda"))
        cuda = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} | {on_gpu:.3f}"
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        student.eval().to("meta")(torch.zeros(1, 3, CUDA_CROP, CUDA_CROP, device="meta"))
    macs = counter.get_total_flops() / 2e9
    return (
        f"| {backbone} | {head} | {parameters:.1f} | {macs:.1f} | {memory:.0f} | {seconds:.2f} "
        f"| {cuda} |"
    )


def names(group: str) -> list[str]:
    """Return the options of a group but those that need a name of the user."""
    files = sorted((ROOT / "conf" / group).glob("*.yaml"))
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
