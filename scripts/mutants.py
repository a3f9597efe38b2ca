"""Put small faults into the method's code, one at a time, and see whether a test notices.

    python scripts/mutants.py [--count 150] [--seed 0] [--only WORD] [--jobs 2]

Draws mutants of the modules in `TESTS` (see `mutating.py`), runs the fast tests of the module for
each in a copy of the working tree outside it, and prints those that survive: a missing assertion,
or a change that changes nothing. 150 take about half an hour on two cores. Each runs in a fork of
this process, which has imported torch and the test tools already.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mutating import Mutant, find_mutants

os.environ.update(WANDB_MODE="offline", NO_ALBUMENTATIONS_UPDATE="1", HF_HUB_OFFLINE="1")
os.environ.update(OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
os.environ.setdefault("SEPICO_SHARED", str(Path(__file__).resolve().parents[2] / "shared"))

ROOT = Path(__file__).resolve().parents[1]
SLOWEST = 300.0
"""Seconds after which a mutant counts as noticed: its tests do not end."""

STEP = ["test_module.py", "test_steps.py", "test_task.py", "test_frugality.py", "test_trace.py"]
ANY = ["test_properties.py"]
TESTS = {
    "contrast/losses.py": ["contrast/test_losses.py", "contrast/test_modes.py", *STEP, *ANY],
    "contrast/modes.py": ["contrast/test_modes.py", *STEP, *ANY],
    "contrast/pixels.py": ["contrast/test_pixels.py", "contrast/test_modes.py", *STEP, *ANY],
    "contrast/statistics.py": ["contrast/test_statistics.py", "contrast/test_modes.py", *STEP],
    "adapt/batch_norm.py": ["adapt/test_batch_norm.py", "test_checks_of_a_run.py", *STEP],
    "adapt/class_weights.py": ["adapt/test_class_weights.py", "adapt/test_pseudo_labels.py"],
    "adapt/pseudo_labels.py": ["adapt/test_pseudo_labels.py", *STEP, *ANY],
    "adapt/teacher.py": ["adapt/test_teacher.py", *STEP],
    "augment/appearance.py": ["augment/test_appearance.py", *STEP, *ANY],
    "augment/balanced_crop.py": ["augment/test_balanced_crop.py", *STEP, *ANY],
    "augment/chance.py": ["augment", *STEP, *ANY],
    "augment/class_mix.py": ["augment/test_class_mix.py", *STEP, *ANY],
    "augment/masking.py": ["augment/test_masking.py", "test_masked_pass.py"],
    "auxiliary.py": ["test_auxiliary.py"],
    "data/geometry.py": ["data/test_geometry.py", "data/test_streams.py", *ANY],
    "data/rare_classes.py": ["data/test_rare_classes.py", "data/test_streams.py"],
    "data/streams.py": ["data/test_streams.py", *ANY],
    "metrics.py": ["test_metrics.py", *STEP],
    "model/inference.py": ["model/test_inference.py", "serving/test_model.py", *STEP],
    "module.py": [*STEP, *ANY],
    "optim.py": ["test_optim.py", *STEP],
    "task.py": [*STEP, *ANY],
    "training.py": ["test_training.py", "test_checks_of_a_run.py"],
}


@dataclass
class Trial:
    """A mutant whose tests run now."""

    mutant: Mutant
    tree: Path
    process: int
    began: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mutants whose `module:line` holds this")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    mutants = [m for m in all_mutants() if asked.only in f"{m.module}:{m.line}"]
    drawn = random.Random(asked.seed).sample(mutants, min(asked.count, len(mutants)))
    print(f"{len(drawn)} of {len(mutants)} mutants, seed {asked.seed}", flush=True)
    warm_up()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [copy_tree(Path(folder, str(job))) for job in range(asked.jobs)]
        check_unchanged(trees[0], sorted({mutant.module for mutant in drawn}))
        verdicts = try_all(drawn, trees)
    killed = verdicts["killed"]
    share = 100 * killed / max(1, len(drawn))
    print(f"{killed} of {len(drawn)} killed: {share:.1f} %; look whether survivors change anything")


def all_mutants() -> list[Mutant]:
    found = []
    for module in TESTS:
        found += find_mutants(module, (ROOT / "sepico_pl" / module).read_bytes())
    return found


def copy_tree(to: Path) -> Path:
    """Copy what git knows and what is new but not ignored, as it is in the working tree."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    return to


def warm_up() -> None:
    """Import what takes long, but nothing of the project: forks import that anew."""
    import albumentations  # noqa: F401
    import hypothesis  # noqa: F401
    import kornia  # noqa: F401
    import pytest  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import segmentation_models_pytorch  # noqa: F401
    import torch
    import wandb  # noqa: F401

    torch.set_num_threads(1)


def try_all(mutants: list[Mutant], trees: list[Path]) -> Counter[str]:
    """Try the mutants, as many at a time as there are trees, and print how each ends."""
    verdicts: Counter[str] = Counter()
    waiting, free, running = list(reversed(mutants)), list(trees), []
    while waiting or running:
        while waiting and free:
            running.append(begin(waiting.pop(), free.pop()))
        time.sleep(0.2)
        for trial in list(running):
            verdict = ending(trial)
            if verdict is None:
                continue
            running.remove(trial)
            free.append(trial.tree)
            verdicts[verdict] += 1
            show(trial, verdict, sum(verdicts.values()))
    return verdicts


def check_unchanged(tree: Path, modules: list[str]) -> None:
    """Leave unless all tests pass without a fault: else every mutant would count as killed."""
    names = list(dict.fromkeys(name for module in modules for name in TESTS[module]))
    missing = [name for name in names if not (tree / "tests" / name).exists()]
    if missing:
        raise SystemExit(f"TESTS names what is not in tests/: {', '.join(missing)}")
    if os.waitpid(fork_tests(tree, names), 0)[1]:
        print((tree / "output.txt").read_text()[-3000:])
        raise SystemExit("the tests fail without a mutant already, see above")


def begin(mutant: Mutant, tree: Path) -> Trial:
    """Put the mutant into its tree and start its tests."""
    source = (ROOT / "sepico_pl" / mutant.module).read_bytes()
    (tree / "sepico_pl" / mutant.module).write_bytes(mutant.apply(source))
    return Trial(mutant, tree, fork_tests(tree, TESTS[mutant.module]), time.monotonic())


def fork_tests(tree: Path, names: list[str]) -> int:
    """Run the tests in a fork, a process group of its own; return its process id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            code = run_tests(tree, names)
        finally:
            os._exit(code)
    return process


def run_tests(tree: Path, names: list[str]) -> int:
    """Run the tests with the package of `tree` alone; nothing is cached from mutant to mutant."""
    import pytest

    os.chdir(tree)
    os.dup2(os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    os.environ["PYTHONPATH"] = str(tree)
    sys.dont_write_bytecode = True
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", "not slow and not gpu"]
    return int(pytest.main([*options, "-k", "not fuzz_any", *(f"tests/{name}" for name in names)]))


def ending(trial: Trial) -> str | None:
    """Say how a trial has ended; None while it runs. What it changed is undone."""
    process, status = os.waitpid(trial.process, os.WNOHANG)
    if process == 0:
        if time.monotonic() - trial.began < SLOWEST:
            return None
        os.killpg(trial.process, signal.SIGKILL)
        os.waitpid(trial.process, 0)
        status = -1
    module = Path("sepico_pl", trial.mutant.module)
    shutil.copyfile(ROOT / module, trial.tree / module)
    return "survived" if status == 0 else "killed"


def show(trial: Trial, verdict: str, number: int) -> None:
    mutant, seconds = trial.mutant, time.monotonic() - trial.began
    print(
        f"{number:3} {verdict:8} {mutant.module}:{mutant.line} {mutant.operator} {seconds:.0f} s\n"
        f"    {mutant.change((ROOT / 'sepico_pl' / mutant.module).read_bytes())}",
        flush=True,
    )


if __name__ == "__main__":
    main()
