"""A job of an ablation: a run is trained, evaluated twice, and becomes a row of the results."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sepico_pl.ablation.machine import ON_CPU, commit_of, cpu_with_threads, gpu_name
from sepico_pl.ablation.results import POLICIES, Policy, Row
from sepico_pl.ablation.side_by_side import Command, Ended, Job
from sepico_pl.ablation.suites import Phase, Suite
from sepico_pl.json_files import Content, checked, read_json
from sepico_pl.quoting import in_csv, printable
from sepico_pl.reporting.run_files import Scores
from sepico_pl.reporting.runs import Run
from sepico_pl.resuming import quoted, traces
from sepico_pl.tables import write_json
from sepico_pl.types import InputError

STATE = "ablation.json"
UNSEEN = "trainer.enable_progress_bar=false"
"""A bar would fill the log."""
LONGEST_REASON = 300


class State(Content):
    """What a run folder remembers of its job.

    Attributes:
        overrides: it was begun with.
        under_way: whether it is being trained; still true where the machine was switched off.
        trained: whether training came to its end.
        seconds, memory_mb: so far; None where some time was not measured.
    """

    overrides: str
    under_way: bool = False
    trained: bool = False
    seconds: float | None = 0.0
    memory_mb: float | None = 0.0


class Failed(Exception):
    """A command of a job ended with an error."""


@dataclass(frozen=True)
class Task:
    """A setting to train with a seed.

    Attributes:
        suite: it is of.
        phase: whose seed.
        setting, seed: which.
        output: folder of the ablation.
        results: file that its row goes into.
    """

    suite: Suite
    phase: Phase
    setting: str
    seed: int
    output: Path
    results: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.setting} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where its run lies."""
        return self.output / "runs" / self.setting / str(self.seed)

    @property
    def log(self) -> Path:
        """Where its commands print to."""
        return self.output / "logs" / f"{self.setting}_{self.seed}.log"

    def scores(self, policy: Policy) -> Path:
        """Where its scores with a policy's statistics go."""
        return self.folder / f"{policy}.scores.json"

    def training(self) -> Command:
        """Return the command that trains it, or goes on."""
        words = [UNSEEN, *self.suite.words(self.setting), f"seed={self.seed}", "resume=auto"]
        return Command("train", [*words, quoted("hydra.run.dir", self.folder)], self.log)

    def evaluation(self, policy: Policy) -> Command:
        """Return the command that evaluates it."""
        words = [f"checkpoint={self.folder / 'last.ckpt'}", f"batch_norm={policy}"]
        words.append(f"output={self.scores(policy)}")
        on_cpu = ["accelerator=cpu"] if ON_CPU in self.suite.words(self.setting) else []
        return Command("evaluate", [*words, *on_cpu], self.log)


def tasks_of(
    suite: Suite, phase: Phase, settings: Iterable[str], output: Path, results: Path
) -> Iterator[Task]:
    """Yield all tasks seed by seed: where they end early, settings have seeds in common."""
    names = list(settings)
    for seed in suite.seeds(phase):
        for setting in names:
            yield Task(suite, phase, setting, seed, output, results)


def work(task: Task, stopped: Callable[[], int], ended: Callable[[Task, Row | str], None]) -> Job:
    """Train and evaluate a task; tell `ended` its row, or why there is none.

    Args:
        task: to do.
        stopped: returns the signal that asked the ablation to end; then a job is no failure.
        ended: told how it ended, but not after a signal.
    """
    print(f"begun: {task.name}", flush=True)
    try:
        state = prepared_state(task)
        if not state.trained:
            write_state(task, state.model_copy(update={"under_way": True}))
            finished = yield task.training()
            state = after_training(state, finished)
            write_state(task, state)
            refuse_failure(finished)
        for policy in POLICIES:
            task.scores(policy).unlink(missing_ok=True)  # of an earlier try, it would be kept
            refuse_failure((yield task.evaluation(policy)))
        outcome: Row | str = row_of(task, state)
    except (Failed, InputError, OSError) as error:
        outcome = reason_in(task.log) if isinstance(error, Failed) else str(error)
    if not stopped() or isinstance(outcome, Row):
        ended(task, outcome)


def refuse_failure(ended: Ended) -> None:
    """End a job whose command has failed.

    Raises:
        Failed: if it has.
    """
    if ended.code:
        raise Failed


def prepared_state(task: Task) -> State:
    """Return what is known of a task's run; one that other overrides made is set aside.

    Raises:
        InputError: if the file is damaged.
    """
    path = task.folder / STATE
    overrides = task.suite.overrides(task.setting)
    remedy = f"remove {task.folder}, and the run begins anew"
    state = read_json(path, State, remedy) if path.is_file() else None
    if state is None or state.overrides != overrides:
        set_aside(task.folder)
        return State(overrides=overrides)
    if state.under_way:
        state = state.model_copy(update={"under_way": False, "seconds": None})
    is_whole = (task.folder / "last.ckpt").is_file()
    return state if is_whole else state.model_copy(update={"trained": False})


def set_aside(folder: Path) -> None:
    """Rename the folder of a run that was made with other overrides, if there is one."""
    if traces(folder):
        beside = (folder.with_name(f"{folder.name}.earlier_{number}") for number in range(1, 1000))
        other = next(path for path in beside if not path.exists())
        folder.rename(other)
        print(f"{folder} holds a run with other overrides: it is {other.name} now", flush=True)


def after_training(state: State, ended: Ended) -> State:
    """Return what is known of a run once its training has ended, well or not."""
    seconds = None if state.seconds is None else state.seconds + ended.seconds
    memory = max(state.memory_mb or 0, ended.memory_mb)
    known = {"trained": ended.code == 0, "seconds": seconds, "memory_mb": memory}
    return state.model_copy(update=known)


def write_state(task: Task, state: State) -> None:
    """Write it into the run folder."""
    task.folder.mkdir(parents=True, exist_ok=True)
    write_json(task.folder / STATE, state.model_dump())


def row_of(task: Task, state: State) -> Row:
    """Return the row of a finished run.

    Raises:
        InputError: if a file of the run is damaged.
    """
    scores = {policy: read_json(task.scores(policy), Scores).target for policy in POLICIES}
    record = Run(task.folder).record
    gpu = gpu_name(task.suite.words(task.setting))
    content = {
        "suite": task.suite.name,
        "setting": task.setting,
        "phase": task.phase,
        "seed": task.seed,
        "overrides": in_csv(task.suite.overrides(task.setting)),
        "seconds": state.seconds,
        "memory_mb": None if gpu else state.memory_mb,
        "machine": gpu or cpu_with_threads(record),
        "torch": record.versions.get("torch", "unknown"),
        "commit": commit_of(record, task.results),
        "images": record.images,
        "date": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        **{f"mIoU_{policy}": found.get("mIoU") for policy, found in scores.items()},
        **{f"classes_{policy}": by_class(found) for policy, found in scores.items()},
    }
    return checked(content, Row, task.folder, "look into its log")


def by_class(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of classes, by their names alone."""
    of_classes = {name: score for name, score in scores.items() if name.startswith("IoU/")}
    return {name.removeprefix("IoU/"): score for name, score in of_classes.items()}


def reason_in(log: Path) -> str:
    """Return the last line that a command has printed."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2**14))
        lines = file.read().decode("utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return printable(said[-1][:LONGEST_REASON]) if said else "it said nothing"
