"""Part a of gpu_day.py: the training step of the paper's networks, in every setting."""

import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from bench_step import by_part, flops, matmul_rate, memory_by_phase, top_ten
from measuring import now
from stepping import GPU_PLANS, Plan, Setting, Step
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

Row = dict[str, object]
Found = Iterator[tuple[str, Row]]

SETTINGS = {
    "official order, float32": Setting(official=True),
    "bf16": Setting(tf32=True, bfloat16=True, channels_last=True),
    "float32": Setting(channels_last=True),
    "tf32": Setting(tf32=True, channels_last=True),
    "bf16, recompute": Setting(tf32=True, bfloat16=True, channels_last=True, recompute=True),
    "bf16, compiled": Setting(tf32=True, bfloat16=True, channels_last=True, compiled=True),
}
BEST, SMOKE_LOOKED_INTO = "bf16", "float32"
SMOKE_PLANS = {"resnet10t": Plan("resnet10t", "light", 32, 2)}
STEPS, WARM_UP = 20, 3
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def measurements(device: str, *, smoke: bool) -> dict[str, Callable[[], Found]]:
    """Return the sections: settings of each network, compiled ones last."""
    plans = SMOKE_PLANS if smoke else GPU_PLANS
    found: dict[str, Callable[[], Found]] = {}
    known: dict[str, dict[str, float]] = {name: {} for name in plans}
    slow = [name for name, setting in SETTINGS.items() if setting.compiled]
    for settings in ([name for name in SETTINGS if name not in slow], slow):
        for network, plan in plans.items():
            for name in settings:
                section = partial(setting_rows, plan, name, device, known[network], smoke)
                found[f"step, {network}, {name}"] = section
    return found


def setting_rows(plan: Plan, name: str, device: str, known: dict[str, float], smoke: bool) -> Found:
    """Yield the step's row, and for some settings where time and memory go.

    Args:
        plan: what is trained.
        name: of the setting.
        device: "cuda", or "cpu" where sizes are tiny.
        known: of the network: its operations, and seconds and bytes of the official order.
        smoke: whether to take one step, and to compile nothing.
    """
    setting = SETTINGS[name]
    if smoke and setting.compiled:
        yield "the step", {"step": name, "skipped": "compiling on a CPU takes minutes"}
        return
    if "operations" not in known:
        known["operations"] = flops(Step(plan, Setting(), device).make)
    if setting.compiled:
        torch.compiler.reset()
    step = Step(plan, setting, device)
    yield "the step", {"step": name, **step_row(step, known, 1 if smoke else STEPS, smoke=smoke)}
    for title, look in looks(name, smoke=smoke).items():
        yield from ((title, row) for row in look(step))


def looks(name: str, *, smoke: bool) -> dict[str, Callable[[Step], list[Row]]]:
    """Return what else is looked into in a setting, by the title of its table."""
    if smoke and name != SMOKE_LOOKED_INTO:
        return {}
    found: dict[str, Callable[[Step], list[Row]]] = {}
    if not SETTINGS[name].compiled:
        found["memory by phase"] = memory_by_phase
    if not SETTINGS[name].recompute:
        found["host waits of a step, by line"] = host_waits
        found["top ten operations"] = top_ten
        found["top ten kernels, and waits by the profiler"] = kernels
    if name in (BEST, SMOKE_LOOKED_INTO):  # last: it watches the step for good
        found["parts of the step"] = partial(by_part, repeats=1 if smoke else STEPS)
    return found


def step_row(step: Step, known: dict[str, float], steps: int, *, smoke: bool) -> Row:
    """Time steps with the device idle at both ends, and read the memory they need at most."""
    on_gpu = torch.device(step.device).type == "cuda"
    begun = now()
    for _ in range(1 if smoke else WARM_UP):
        step.make()
    warm_up = now() - begun
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    taken = []
    for _ in range(steps):
        start = now()
        step.make()
        taken.append(now() - start)
    seconds = statistics.median(taken)
    with step.precision():
        dtype = torch.bfloat16 if step.setting.bfloat16 else torch.float32
        rate = matmul_rate(step.device, dtype, 256 if smoke else 8192)
    row: Row = {
        "ms": round(1e3 * seconds, 2),
        "fastest": round(1e3 * min(taken), 2),
        "slowest": round(1e3 * max(taken), 2),
        "steps": steps,
        "warm-up, s": round(warm_up, 1),
    }
    if on_gpu:
        allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        row |= {"GB allocated": allocated / 1e9, "GB reserved": reserved / 1e9}
        if step.setting.official:
            known["bytes"] = allocated
        if "bytes" in known:
            row["share of the official memory"] = round(allocated / known["bytes"], 3)
    if step.setting.official:
        known["seconds"] = seconds
    if "seconds" in known:
        row["times faster than the official order"] = round(known["seconds"] / seconds, 2)
    achieved = known["operations"] / seconds
    return row | {
        "TFLOP/s": round(achieved / 1e12, 3),
        "matmul TFLOP/s": round(rate / 1e12, 3),
        "share of matmul": round(achieved / rate, 3),
    }


def host_waits(step: Step) -> list[Row]:
    """Count by source line how often a step makes the host wait for the device."""
    if torch.device(step.device).type != "cuda":
        return [{"line": "skipped: a CPU has no waits for a device", "waits": 0}]
    step.make()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step.make()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [one for one in caught if "synchroniz" in str(one.message).lower()]
    lines = Counter(f"{'/'.join(Path(one.filename).parts[-3:])}:{one.lineno}" for one in waits)
    rows: list[Row] = [{"line": line, "waits": count} for line, count in lines.most_common()]
    return [{"line": "all", "waits": len(waits)}, *rows]


def kernels(step: Step) -> list[Row]:
    """Profile one step: the kernels that take longest, and the runtime's waits."""
    on_gpu = torch.device(step.device).type == "cuda"
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=kinds) as profiled:
        step.make()
        now()
    events = profiled.key_averages()
    on_device = [
        event
        for event in events
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    on_device.sort(key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in on_device)
    rows: list[Row] = [
        {
            "kernel": event.key[:90],
            "ms": round(event.self_device_time_total / 1e3, 2),
            "share": f"{event.self_device_time_total / total:.1%}",
            "calls": event.count,
        }
        for event in on_device[:10]
    ]
    copies = [event for event in on_device if "DtoH" in event.key]
    waits = [event for event in events if event.key in WAITS]
    rows.append({"kernel": "all copies from the device", "calls": sum(e.count for e in copies)})
    rows += [{"kernel": f"host: {event.key}", "calls": event.count} for event in waits]
    return rows
