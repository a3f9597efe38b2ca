"""torch.compile for the networks of a task: optional, and never the reason that a run ends."""

import torch
import torch._dynamo

from sepico_pl.quoting import first_line
from sepico_pl.task import SegmentationTask

ON_CPU = "compile=true is for GPUs: on this CPU the run goes on without it"


def compile_networks(task: SegmentationTask, device: torch.device) -> None:
    """Compile encoder and heads of student and teacher, each when it is first used.

    Each size of images gets its own kernels. On a CPU, where compiled steps take longer, and where
    nothing can be compiled (no C++ compiler, no Triton) a line says so; what torch.compile cannot
    take runs as it is, with its warning.
    """
    hindrance = ON_CPU if device.type == "cpu" else without_compiler(device)
    if hindrance is not None:
        print(hindrance)
        return
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64  # sizes x (student, teacher) x (training, judging)
    teacher = getattr(task, "teacher", None)
    for network in [task.student] if teacher is None else [task.student, teacher.network]:
        for part in (network.encoder, network.head, network.projection):
            if part is not None:
                part.compile(dynamic=False)


def without_compiler(device: torch.device) -> str | None:
    """Return a line that says why torch.compile does not work for a device; None where it does."""
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # a compiler may be missing in any way
        reason = first_line(error)
        return f"compile=true: nothing is compiled, for torch.compile does not work here ({reason})"
    return None
