"""What a training step of the paper's networks holds, counted without a GPU.

    python scripts/bench_memory.py

Tensors without values (torch's FakeTensorMode) go through the student's source pass on 640x640
crops, batch 2: encoder, decode head, cross-entropy, projection, backward pass; and every tensor
that is alive counts. To the peak come the networks, gradients and the optimizer's state. Not
counted: the CUDA context, workspaces of single operations and fragmentation, for which the last
column leaves 1 GB and a tenth.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from measuring import LiveBytes, publish
from stepping import GPU_PLANS, Plan, build
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sepico_pl.judging import be_quiet
from sepico_pl.model.recompute import recompute_blocks

CARDS = (8, 12, 16, 24)
SETTINGS = (("32-true", False), ("32-true", True), ("bf16-mixed", False), ("bf16-mixed", True))


def precision(name: str) -> AbstractContextManager[object]:
    """Enter autocast, or nothing."""
    return torch.autocast("cpu", torch.bfloat16) if name == "bf16-mixed" else nullcontext()


def peak_of_source_pass(plan: Plan, name: str, *, recompute: bool) -> tuple[int, int]:
    """Return the bytes of what stays, and of what the source pass holds at most beyond it."""
    task = build(plan, "cpu")
    student = task.student
    parameters = sum(p.nbytes for p in student.parameters())
    # student, gradients, two moments, teacher
    stays = 5 * parameters + 2 * sum(b.nbytes for b in student.buffers())
    if recompute:
        recompute_blocks(student.encoder)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        without_values(student, mode)
        image = torch.empty(plan.batch, 3, plan.crop, plan.crop)
        label = torch.zeros(plan.batch, plan.crop, plan.crop, dtype=torch.int64)
        with LiveBytes() as live, precision(name):
            stages = student.encode(image)
            loss = task.cross_entropy(student.decode(stages, image.shape[-2:]), label)
            loss = loss + sum(one.float().square().mean() for one in student.embed(stages))
            loss.backward()
    return stays, live.peak


def without_values(network: nn.Module, mode: FakeTensorMode) -> None:
    """Replace parameters and buffers by tensors without values, which have gradients already."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            empty = nn.Parameter(mode.from_tensor(parameter.detach()))
            empty.grad = torch.empty_like(empty)
            setattr(module, name, empty)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(buffer))


def row(plan: Plan, name: str, *, recompute: bool) -> dict[str, object]:
    """Count one setting."""
    stays, peak = peak_of_source_pass(plan, name, recompute=recompute)
    needed = 1 + 1.1 * (stays + peak) / 1e9
    fits = next((f"{card} GB" for card in CARDS if needed <= card), f"more than {CARDS[-1]} GB")
    return {
        "network": f"{plan.backbone} + {plan.head}",
        "trainer.precision": name,
        "recompute": str(recompute).lower(),
        "stays, GB": f"{stays / 1e9:.2f}",
        "source pass, GB": f"{peak / 1e9:.2f}",
        "with room": f"{needed:.1f}",
        "smallest card": fits,
    }


def main() -> None:
    """Count, print and write."""
    be_quiet()
    rows = [
        row(plan, name, recompute=recompute)
        for plan in GPU_PLANS.values()
        for name, recompute in SETTINGS
    ]
    publish("memory", {"one training step, 640x640, batch 2": rows})


if __name__ == "__main__":
    main()
