"""Several runs by one command: a failed one does not end the others, and the end names it."""

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

FAILURE = "error.txt"
"""File in the folder of a run of a multirun that failed: why."""


@contextmanager
def failures_noted() -> Iterator[None]:
    """Let a job of a multirun that fails leave its reason in its folder, and the others go on.

    A signal still ends all of them. Outside a multirun nothing changes.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    note = Path(HydraConfig.get().runtime.output_dir) / FAILURE
    note.unlink(missing_ok=True)
    try:
        yield
    except SystemExit as ending:
        if not isinstance(ending.code, str):  # after a signal
            raise
        print(ending.code, file=sys.stderr, flush=True)
        note.write_text(ending.code.removeprefix("error: ") + "\n", encoding="utf-8")
    except Exception as error:
        traceback.print_exc()
        reason = " ".join(str(error).split())
        note.write_text(f"{type(error).__name__}: {reason}\n", encoding="utf-8")


class MultirunSummary(Callback):
    """Says at the end of a multirun which of its runs failed, and how to compare the others."""

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Remember when it began."""
        self.begun = time.time()

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Print the runs that failed.

        Raises:
            SystemExit: with code 1, if there is one.
        """
        folder = Path(config.hydra.sweep.dir)
        failed = sorted(
            path for path in folder.rglob(FAILURE) if path.stat().st_mtime >= self.begun - 1
        )
        for path in failed:
            reason = path.read_text(encoding="utf-8").strip()
            print(f"failed: {path.parent}: {reason}", file=sys.stderr)
        print(f"compare: python -m sepico_pl.compare {folder}")
        if failed:
            number = f"{len(failed)} run" + ("s" if len(failed) > 1 else "")
            sys.exit(f"error: {number} of this multirun failed, see above; the others are whole")
