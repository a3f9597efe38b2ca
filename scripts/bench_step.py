"""A whole training step, by part, beside the same step written in the official order.

    python scripts/bench_step.py                       # every network and setting for this machine
    python scripts/bench_step.py --networks resnet50   # one of them

Both steps have the same network, data, contrast (distribution, from the first step on) and losses;
official_order.py says what the other one is. Medians of turns that alternate. On a CUDA device also
TFLOP/s beside the device's own matrix product.
"""

import argparse
import gc
from collections.abc import Callable
from contextlib import nullcontext

import torch
from measuring import LiveBytes, interleaved, publish
from stepping import CPU_PLANS, GPU_PLANS, Parts, Plan, Setting, Step
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from sepico_pl.judging import be_quiet

Row = dict[str, object]

CPU_SETTINGS = {"official order": Setting(official=True), "ours": Setting()}
GPU_SETTINGS = {
    "official order, float32": Setting(official=True),
    "float32": Setting(),
    "tf32": Setting(tf32=True),
    "bf16": Setting(tf32=True, bfloat16=True),
    "bf16, compiled": Setting(tf32=True, bfloat16=True, compiled=True),
    "bf16, channels-last": Setting(tf32=True, bfloat16=True, channels_last=True),
    "bf16, recompute": Setting(tf32=True, bfloat16=True, recompute=True),
}


def by_part(step: Step, repeats: int) -> list[Row]:
    """Split a step into its parts; on a GPU each waits for the one before."""
    parts, task = Parts(), step.task
    parts.watch(task.teacher, "follow", "teacher follows the student")
    parts.watch(task, "vote", "teacher labels the target (whole and crop)")
    parts.watch(task, "crop_target", "balanced crop")
    draw = task.strong.draw  # the step asks for it too, and a function takes the place of `strong`
    parts.watch(task, "strong", "jitter and blur")
    task.strong.draw = draw
    parts.watch(task, "update_statistics", "teacher embeds the source")
    parts.watch(task.contrast, "update", "label downscaling, statistics")
    for method in ("encode", "decode", "embed"):
        parts.watch(task.student, method, f"student: {method}")
    parts.watch(task, "contrast_loss", "contrast losses")
    parts.watch(task, "cross_entropy", "cross-entropies")
    parts.watch(step, "backward", "backward passes")
    parts.watch(step, "optimizer_step", "optimizer")
    parts.watch(step, "make", "the rest: mixing, pasting, random numbers")
    for _ in range(2):
        step.make()
    parts.seconds.clear()
    for _ in range(repeats):
        step.make()
    total = sum(parts.seconds.values())
    return [
        {"part": name, "ms": f"{1e3 * seconds / repeats:.1f}", "share": f"{seconds / total:.1%}"}
        for name, seconds in sorted(parts.seconds.items(), key=lambda item: -item[1])
    ]


def contrast_alone(step: Step, *, projected: bool) -> Callable[[], None]:
    """Return what the contrast adds to a step, forward and backward.

    Label downscaling, statistics, the losses of source and target, and if `projected` the
    projection of teacher and student.
    """
    task, label = step.task, step.batch["source"]["label"]
    with torch.no_grad(), step.precision():
        stages = task.student.encode(step.batch["source"]["image"])
        maps = task.student.embed(stages)
    leaves = [one.detach().requires_grad_() for one in (stages if projected else maps)]

    def run() -> None:
        with step.precision():
            with torch.no_grad():
                seen = task.teacher.network.embed(stages) if projected else maps
                task.contrast.update(seen, label)
            for _ in ("target", "source"):
                embeddings = task.student.embed(leaves) if projected else leaves
                task.contrast(embeddings, label).backward()

    return run


def memory_by_phase(step: Step) -> list[Row]:
    """Say how much is held at most in each phase, beyond networks and optimizer state."""
    step.make()
    task, batch = step.task, step.batch
    on_gpu = torch.device(step.device).type == "cuda"
    rows = []
    with nullcontext() if on_gpu else LiveBytes() as live, step.precision():
        step.optimizer.zero_grad()
        losses = task.losses(batch)
        start = torch.cuda.memory_allocated() if on_gpu else 0

        def peak(phase: str) -> None:
            most = torch.cuda.max_memory_allocated() - start if on_gpu else live.peak
            rows.append({"phase": phase, "GB at most": f"{most / 1e9:.3f}"})
            if on_gpu:
                rows[-1]["GB reserved"] = f"{torch.cuda.max_memory_reserved() / 1e9:.3f}"
                torch.cuda.reset_peak_memory_stats()
            else:
                live.peak = live.now

        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        before = "teacher, statistics, augmentation, "
        for name, loss in losses:
            peak(f"{before}{name} pass")
            before = ""
            step.backward(loss)
            del loss
            peak(f"{name} backward pass")
    step.optimizer_step()
    return rows


def flops(run: Callable[[], None]) -> int:
    """Count the floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def matmul_rate(device: str, dtype: torch.dtype, size: int = 8192) -> float:
    """Measure the device's product of square matrices: floating-point operations per second."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = interleaved({"product": lambda: left @ right}, repeats=10).median("product")
    return 2 * size**3 / seconds


def top_ten(step: Step) -> list[Row]:
    """Profile two steps: the ten operations that take longest by themselves."""
    on_gpu = torch.device(step.device).type == "cuda"
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    step.make()
    with profile(activities=kinds) as profiled:
        step.make()
        step.make()
    attribute = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    operations = [event for event in profiled.key_averages() if event.key.startswith("aten::")]
    events = sorted(operations, key=lambda event: -getattr(event, attribute))
    total = sum(getattr(event, attribute) for event in events)
    return [
        {
            "operation": event.key[:60],
            "ms a step": f"{getattr(event, attribute) / 2e3:.1f}",
            "share": f"{getattr(event, attribute) / total:.1%}",
            "calls a step": event.count // 2,
        }
        for event in events[:10]
    ]


def compare_on_cpu(plan: Plan, repeats: int) -> dict[str, list[Row]]:
    """Compare both steps, turn by turn."""
    steps = {name: Step(plan, setting, "cpu") for name, setting in CPU_SETTINGS.items()}
    turns = {name: step.make for name, step in steps.items()}
    turns["labels, statistics, losses"] = contrast_alone(steps["ours"], projected=False)
    turns["the same with the projection"] = contrast_alone(steps["ours"], projected=True)
    seconds = interleaved(turns, repeats=repeats)
    operations = {name: flops(run) for name, run in turns.items()}
    rows = [
        {
            "step": name,
            "ms": f"{1e3 * seconds.median(name):.1f}",
            "of the official order": f"{seconds.ratio(name, 'official order'):.3f}",
            "of ours": f"{seconds.ratio(name, 'ours'):.3f}",
            "GFLOP": f"{operations[name] / 1e9:.1f}",
            "GFLOP, of ours": f"{operations[name] / operations['ours']:.3f}",
        }
        for name in seconds
    ]
    return {
        "the step": rows,
        "by part": by_part(steps["ours"], repeats),
        "memory by phase": memory_by_phase(Step(plan, Setting(), "cpu")),
        "memory by phase, recompute=true": memory_by_phase(
            Step(plan, Setting(recompute=True), "cpu")
        ),
    }


def compare_on_gpu(plan: Plan, repeats: int, device: str) -> dict[str, list[Row]]:
    """Measure every setting by itself: none shares the memory of another."""
    operations = flops(Step(plan, Setting(), device).make)
    rows, tables = [], {}
    for name, setting in GPU_SETTINGS.items():
        gc.collect()
        torch.compiler.reset()
        torch.cuda.empty_cache()
        row, found = measured_on_gpu(plan, setting, repeats, device, operations)
        first = rows[0] if rows else row
        row["times faster"] = round(first["seconds"] / row["seconds"], 2)
        row["share of memory"] = round(row["GB at most"] / first["GB at most"], 2)
        rows.append({"step": name, **row})
        print(*rows[-1].values(), sep=" | ", flush=True)
        tables |= {f"{name}: {title}": table for title, table in found.items()}
    return {"the step": rows, **tables}


def measured_on_gpu(
    plan: Plan, setting: Setting, repeats: int, device: str, operations: int
) -> tuple[Row, dict[str, list[Row]]]:
    """Measure one setting: its row, and its tables."""
    step = Step(plan, setting, device)
    seconds = interleaved({"step": step.make}, repeats=repeats, warm_up=3).median("step")
    torch.cuda.reset_peak_memory_stats()
    step.make()
    peak = torch.cuda.max_memory_allocated()
    with step.precision():
        rate = matmul_rate(device, torch.bfloat16 if setting.bfloat16 else torch.float32)
        added = {
            "contrast": contrast_alone(step, projected=False),
            "with projection": contrast_alone(step, projected=True),
        }
        alone = interleaved(added, repeats=repeats)
    row = {
        "seconds": round(seconds, 4),
        "GB at most": round(peak / 1e9, 2),
        **{name: f"{alone.median(name) / seconds:.1%}" for name in alone},
        "TFLOP/s": f"{operations / seconds / 1e12:.1f}",
        "of the matrix product": f"{operations / seconds / rate:.0%}",
    }
    if setting.compiled:
        return row, {}
    tables = {"memory by phase": memory_by_phase(step), "top ten operations": top_ten(step)}
    if not setting.official:
        tables["by part"] = by_part(step, repeats)
    return row, tables


def main() -> None:
    """Measure, print and write."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plans = GPU_PLANS | CPU_PLANS if device == "cuda" else CPU_PLANS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=plans, default=list(plans))
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    be_quiet()
    tables = {}
    for name in chosen.networks:
        plan = plans[name]
        if device == "cuda":
            found = compare_on_gpu(plan, chosen.repeats, device)
        else:
            found = compare_on_cpu(plan, chosen.repeats)
            found["top ten operations"] = top_ten(Step(plan, Setting(), device))
        size = f"{plan.crop}x{plan.crop}, batch {plan.batch}"
        tables |= {
            f"{plan.backbone} + {plan.head}, {size}: {title}": t for title, t in found.items()
        }
    publish("step", tables)


if __name__ == "__main__":
    main()
