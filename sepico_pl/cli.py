"""What the commands share: where the configuration lies, and errors a user can read.

Imports no torch, so that `--help` answers at once.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import (
    CompactHydraException,
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from sepico_pl.first_look import look_at, nothing_left_of_a_refusal
from sepico_pl.known_keys import refused_choice, refused_override
from sepico_pl.libraries import load_libraries
from sepico_pl.multirun import failures_recorded
from sepico_pl.quoting import never_fail_to_print

FULL_ERROR = "HYDRA_FULL_ERROR"
INTERRUPTED = 130
MENDABLE = {
    errno.ENOSPC: "no space is left on its disk: free some, or choose another folder",
    errno.EDQUOT: "the quota of its disk is used up: free some space, or choose another folder",
    errno.EROFS: "it cannot be written to: choose another folder",
    errno.EACCES: "permission is missing: choose another folder, or change its permissions",
    errno.EPERM: "permission is missing: choose another folder, or change its permissions",
    errno.ENOTDIR: "a part of this path is a file: choose another folder",
    errno.EEXIST: "there is a file of this name: choose another one",
    errno.EISDIR: "this is a folder: name a file",
    errno.ENAMETOOLONG: "choose a shorter one "
    "(for a multirun: hydra.sweep.subdir='${hydra.job.num}')",
    errno.ELOOP: "its links lead in a circle: mend them",
}
LOST_RANK = (
    "another process of this run ended (what it said stands above); "
    "continue from the last checkpoint by resume=last"
)
KILLED_WORKER = "DataLoader worker (pid"
"""How torch begins to say, wherever the program is, that a loader process was ended."""
FROM_A_WORKER = "in DataLoader worker process"
"""How torch begins an error of a loader process, whose traceback it puts before its words."""
NAMED_BY_THEIR_WORDS = {
    KILLED_WORKER: "a loader process was ended by the system, as where memory runs out: choose "
    "fewer data.workers or a smaller data.batch_size; a run goes on by resume=last",
    "shared memory(shm)": "there is not enough shared memory for the loader processes; give a "
    "container more (docker run --shm-size=8g), or choose fewer data.workers",
    "Connection closed by peer": LOST_RANK,
    "Connection reset by peer": LOST_RANK,
    "remote process exited": LOST_RANK,
    'Could not detect "srun"': "hydra/launcher=cluster needs SLURM and there is none here; leave "
    "it out to run one after the other",
    "address already in use": "MASTER_PORT is in use by another program: set it to a free port, or "
    "unset it",
}

# Hydra copies the store each time it lists a group, a hundred times for --help; nothing changes it.
ConfigStore.__deepcopy__ = lambda store, _: store  # type: ignore[attr-defined]


def find_conf() -> str:
    """Return the folder of the configuration: in the installed package, or in the checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return str(folder)
    message = f"sepico_pl's conf folder is neither in {package} nor beside it; install it again"
    raise SystemExit(message)


def command(
    config_name: str,
    words: Callable[[Sequence[str]], list[str]] = list,
    *,
    reads_data: bool = True,
    libraries: Sequence[str] = (),
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of the resolved configuration a command line of its own.

    Args:
        config_name: the file in conf/.
        words: turns what was typed into what Hydra is given.
        reads_data: whether the roots of data sets must be there.
        libraries: what the function needs that takes seconds to import.
    """

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        wanted = os.environ.get(FULL_ERROR)

        def inside_hydra(config: DictConfig) -> None:
            with (
                environment(FULL_ERROR, wanted),
                nothing_left_of_a_refusal(),
                failures_recorded(),
                readable_errors(full=wanted == "1"),
            ):
                look_at(config, config_name, reads_data=reads_data)
                load_libraries(libraries)
                function(config)

        main = hydra.main(version_base="1.3", config_path=find_conf(), config_name=config_name)
        run: Callable[[], None] = main(inside_hydra)

        def readable() -> None:
            nonlocal wanted
            never_fail_to_print()
            wanted = os.environ.get(FULL_ERROR)
            # Hydra hands on its own errors and those of the operating system only so.
            with (
                readable_errors(full=wanted == "1", config_name=config_name),
                environment(FULL_ERROR, "1"),
            ):
                sys.argv[1:] = words(sys.argv[1:])
                run()

        return readable

    return decorate


@contextmanager
def environment(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable for a while; None takes it away."""
    before = os.environ.get(name)
    try:
        _set(name, value)
        yield
    finally:
        _set(name, before)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


@contextmanager
def readable_errors(*, full: bool, config_name: str = "") -> Iterator[None]:
    """End with one line for what the user can mend; `full` keeps the traceback.

    Args:
        full: whether to.
        config_name: the file in conf/ that overrides are for.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        explanation = explain(error)
        if isinstance(error, ConfigCompositionException):
            explanation = refused_override(error, find_conf(), config_name) or explanation
        if explanation is None or full:
            raise
        sys.stdout.flush()
        sys.exit(f"error: {explanation}")


def raised_in(error: BaseException) -> str:
    """Return the package whose code raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__")).split(".")[0]


def explain(error: BaseException) -> str | None:
    """Return one line for what the user can mend; None for a fault of the program."""
    causes = list(chain_of(error))
    if any(str(cause).startswith(KILLED_WORKER) for cause in causes):
        return NAMED_BY_THEIR_WORDS[KILLED_WORKER]
    for cause in causes:
        for words in (of_input, of_configuration, of_surroundings):
            explanation = words(cause)
            if explanation is not None:
                return " ".join(explanation.split())
    return None


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the last one first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def of_input(error: BaseException) -> str | None:
    """Return what the program itself refuses, in a loader process or in this one."""
    if "InputError" not in (kind.__name__ for kind in type(error).__mro__):
        return None
    words = str(error)
    name = type(error).__name__
    return words.rpartition(f"{name}: ")[2] if FROM_A_WORKER in words else words


def of_configuration(error: BaseException) -> str | None:
    """Explain what Hydra refuses."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is not set: give it as {error.full_key}=<value>"
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as key=value; name the key (--help lists them), and "
            "put values with special characters in quotes"
        )
    if isinstance(error, MissingConfigException):
        return refused_choice(error)
    if isinstance(error, CompactHydraException | OmegaConfBaseException):
        return f"{error} {error.__cause__ or ''}"
    if type(error).__module__.startswith("yaml."):
        return f"a configuration file is no YAML: {error}"
    if raised_in(error) in ("hydra", "omegaconf"):
        return f"{error} (Hydra: {type(error).__name__})"
    return None


def of_surroundings(error: BaseException) -> str | None:
    """Explain what disks, networks and other processes refuse."""
    if isinstance(error, OSError) and error.errno in MENDABLE:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}; {MENDABLE[error.errno]}"
    if type(error).__module__.startswith("wandb."):
        return f"Weights & Biases: {error}; WANDB_MODE=offline logs to this disk instead"
    for words, explanation in NAMED_BY_THEIR_WORDS.items():
        if words in str(error):
            return explanation
    return None
