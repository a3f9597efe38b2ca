"""What the commands share: where the configuration lies, and errors a user can read.

Imports no torch, so that `--help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException


def _find_conf() -> str:
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return str(folder)
    message = f"sepico_pl's conf folder is neither in {package} nor beside it; install it again"
    raise SystemExit(message)


def command(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of the resolved configuration a command line of its own."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        def readable(config: DictConfig) -> None:
            with readable_errors():
                function(config)

        main = hydra.main(version_base="1.3", config_path=_find_conf(), config_name=config_name)
        run: Callable[[], None] = main(readable)
        return run

    return decorate


@contextmanager
def readable_errors() -> Iterator[None]:
    """End with one line for what the user can mend; HYDRA_FULL_ERROR=1 keeps the traceback."""
    try:
        yield
    except Exception as error:
        explanation = explain(error)
        if explanation is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.stdout.flush()
        sys.exit(f"error: {explanation}")


def explain(error: BaseException) -> str | None:
    """Return one line for what the user can mend; None for a fault of the program."""
    cause: BaseException | None = error
    while cause is not None:
        if "InputError" in (kind.__name__ for kind in type(cause).__mro__):
            return " ".join(str(cause).split())
        if isinstance(cause, MissingMandatoryValue):
            return f"{cause.full_key} is not set: give it as {cause.full_key}=<value>"
        if isinstance(cause, OmegaConfBaseException):
            return " ".join(str(cause).split())
        cause = cause.__cause__ or cause.__context__
    return None
