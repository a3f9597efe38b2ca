"""torch.compile for the networks of a task: optional, and never the reason that a run ends."""

import torch
import torch._dynamo

from sepico_pl.quoting import first_line
from sepico_pl.task import SegmentationTask


def compile_networks(task: SegmentationTask, device: torch.device) -> None:
    """Compile encoder and heads of student and teacher, each when it is first used.

    Each size of images gets its own kernels. Where nothing can be compiled (no C++ compiler, no
    Triton) a line says so; what torch.compile cannot take runs as it is, with its warning.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # a compiler may be missing in any way
        reason = first_line(error)
        print(f"compile=true: nothing is compiled, for torch.compile does not work here ({reason})")
        return
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64  # sizes x (student, teacher) x (training, judging)
    teacher = getattr(task, "teacher", None)
    for network in [task.student] if teacher is None else [task.student, teacher.network]:
        for part in (network.encoder, network.head, network.projection):
            if part is not None:
                part.compile(dynamic=False)
