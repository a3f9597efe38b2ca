"""A whole training step without a trainer, for the benchmarks, and a watch for its parts."""

from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from hydra import compose, initialize_config_dir
from measuring import ROOT, now
from official_order import in_official_order
from torch import Tensor

from sepico_pl.assembly import build_data, build_task, plain_config
from sepico_pl.compiling import compile_networks
from sepico_pl.model.recompute import recompute_blocks
from sepico_pl.module import SePiCo


class Plan(NamedTuple):
    """What is trained: the target image is twice as wide as the crop."""

    backbone: str
    head: str
    crop: int
    batch: int
    dataset: str = "streets19"


CPU_PLANS = {
    "resnet10t": Plan("resnet10t", "light", 64, 4),
    "resnet50": Plan("resnet50_v1c", "deeplabv2", 128, 2),
}
GPU_PLANS = {
    "resnet101": Plan("resnet101_v1c", "deeplabv2", 640, 2),
    "mit_b5": Plan("mit_b5", "daformer", 640, 2),
}


class Setting(NamedTuple):
    """How it is computed."""

    official: bool = False
    tf32: bool = False
    bfloat16: bool = False
    compiled: bool = False
    recompute: bool = False
    channels_last: bool = False


def data(plan: Plan, num_classes: int, device: str) -> dict[str, dict[str, Tensor]]:
    """Draw images with labels in blocks, so that every class has pixels to contrast."""
    rng = torch.Generator().manual_seed(0)
    crop, batch = plan.crop, plan.batch
    cells = torch.randint(0, num_classes, (batch, crop // 32, crop // 32), generator=rng)
    label = cells.repeat_interleave(32, 1).repeat_interleave(32, 2)
    source = {"image": torch.randn(batch, 3, crop, crop, generator=rng), "label": label}
    target = {"image": torch.randn(batch, 3, crop, 2 * crop, generator=rng)}
    return {
        domain: {name: tensor.to(device) for name, tensor in tensors.items()}
        for domain, tensors in (("source", source), ("target", target))
    }


def build(plan: Plan, device: str) -> SePiCo:
    """Build the whole method around a network, without a trainer and its logs."""
    size = f"dataset.size=[{plan.crop},{2 * plan.crop}]"
    choices = [f"backbone={plan.backbone}", f"head={plan.head}", size, f"dataset={plan.dataset}"]
    choices += [f"data.crop_size=[{plan.crop},{plan.crop}]", "adapt.contrast_start=0", "name=bench"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = plain_config(compose("run", choices))
    torch.manual_seed(0)
    task: SePiCo = build_task(plain, build_data(plain).pair)
    task.logs_this_step = lambda: False
    task.log = lambda *_, **__: None
    task.strong.jitter_probability = task.strong.blur_probability = 1.0
    return task.train().to(device)


class Step:
    """One training step, as `SegmentationTask.training_step` makes it, without a trainer."""

    def __init__(self, plan: Plan, setting: Setting, device: str) -> None:
        self.setting, self.device = setting, device
        self.task = build(plan, device)
        self.batch = data(plan, len(self.task.class_names), device)
        self.optimizer, _ = self.task.build_optimizer(self.task.student, 40_000)
        if setting.official:
            in_official_order(self.task)
            for group in self.optimizer.param_groups:
                group.update(fused=False, foreach=False)
        if setting.channels_last:
            self.task.to(memory_format=torch.channels_last)
        if setting.recompute:
            recompute_blocks(self.task.student.encoder)
        if setting.compiled:
            compile_networks(self.task, torch.device(device))

    def precision(self) -> AbstractContextManager[object]:
        """Enter autocast, or nothing."""
        torch.backends.cuda.matmul.allow_tf32 = self.setting.tf32
        torch.backends.cudnn.allow_tf32 = self.setting.tf32
        if self.setting.bfloat16:
            return torch.autocast(torch.device(self.device).type, torch.bfloat16)
        return nullcontext()

    def make(self) -> None:
        """Make the step."""
        with self.precision():
            self.optimizer.zero_grad()
            for _, loss in self.task.losses(self.batch):
                self.backward(loss)
                del loss
        self.optimizer_step()

    def backward(self, loss: Tensor) -> None:
        """Make a backward pass."""
        loss.backward()

    def optimizer_step(self) -> None:
        """Make the optimizer's step."""
        self.optimizer.step()


class Parts:
    """Sums up the seconds of named calls, without those of named calls inside them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside = [0.0]

    def watch(self, owner: object, method: str, name: str) -> None:
        """Time what `owner.method` does from now on."""
        original = getattr(owner, method)

        def timed(*args: object, **kwargs: object) -> object:
            start = now()
            self.inside.append(0.0)
            result = original(*args, **kwargs)
            took = now() - start
            self.seconds[name] += took - self.inside.pop()
            self.inside[-1] += took
            return result

        setattr(owner, method, timed)
