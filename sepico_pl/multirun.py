"""Several runs by one command: a failed one does not end the others, and the end names it."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from sepico_pl.job_signals import SIGNAL_STATE, exit_if_signalled

FAILURE = "run_failed.txt"
"""File in the folder of a run of a multirun that failed: why."""


@contextmanager
def failures_recorded() -> Iterator[None]:
    """Let a job of a multirun that fails leave its reason in its folder, and the others go on.

    A signal still ends all of them. Outside a multirun nothing changes.

    Raises:
        SystemExit: after a signal, but not in a process that the command started and waits for.
    """
    if parent_process() is None:
        SIGNAL_STATE.signum = 0
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    try:
        SIGNAL_STATE.in_job = True
        with recorded_failure(Path(HydraConfig.get().runtime.output_dir) / FAILURE):
            yield
        exit_if_signalled()
    except SystemExit:
        if parent_process() is None:
            raise
    finally:
        SIGNAL_STATE.in_job = False


@contextmanager
def recorded_failure(file: Path) -> Iterator[None]:
    """Write down why a job failed; a signal is no failure."""
    file.unlink(missing_ok=True)
    try:
        yield
    except SystemExit as ending:
        if not isinstance(ending.code, str):  # after a signal
            raise
        print(ending.code, file=sys.stderr, flush=True)
        _write(file, ending.code.removeprefix("error: "))
    except Exception as error:
        traceback.print_exc()
        _write(file, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _write(file: Path, reason: str) -> None:
    """Write the reason; a full disk, which may be that reason, does not end the other jobs."""
    try:
        file.write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        print(f"{file} cannot be written ({error.strerror})", file=sys.stderr)


def failure_files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files of failed jobs below a folder, with what changes when one is written."""
    found = {path: path.stat() for path in folder.rglob(FAILURE)}
    return {path: (status.st_mtime_ns, status.st_ino) for path, status in found.items()}


def set_threads_of_jobs() -> None:
    """Let jobs in processes of their own have as many threads as `OMP_NUM_THREADS` asks for.

    joblib sets `MKL_NUM_THREADS` to a share of the cores, and torch obeys that one too.
    """
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        os.environ.setdefault("MKL_NUM_THREADS", threads)


class MultirunSummary(Callback):
    """Says at the end of a multirun which of its runs failed, and how to compare the others."""

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Look which jobs failed earlier, and set the threads of those to come."""
        set_threads_of_jobs()
        self.earlier = failure_files(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Print the runs that failed.

        Raises:
            SystemExit: with code 1, if there is one.
        """
        folder = Path(config.hydra.sweep.dir)
        files = failure_files(folder)
        failed = sorted(path for path in files if files[path] != self.earlier.get(path))
        for path in failed:
            reason = path.read_text(encoding="utf-8").strip()
            print(f"failed: {path.parent}: {reason}", file=sys.stderr)
        print(f"compare: python -m sepico_pl.compare {folder}")
        if failed:
            number = f"{len(failed)} run" + ("s" if len(failed) > 1 else "")
            sys.exit(f"error: {number} of this multirun failed, see above; the others are whole")
