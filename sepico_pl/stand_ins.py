"""What stands in for modules that others import and that a program of ours may never use.

timm and torchvision import torch's compiler (over a second) to exempt a few functions from it; timm
imports Weights & Biases for a log; torchmetrics imports scipy's signals to give them an old name.
"""

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER, COMPILER_UTILS = "torch._dynamo", "torch._dynamo.utils"
Function = Callable[..., Any]


def unwanted() -> dict[str, ModuleType | None]:
    """Return by name what takes the place of modules; None for "not there"."""
    signals = ModuleType("scipy.signal")
    signals.hamming = None  # type: ignore[attr-defined]
    return {
        "wandb": None,
        "scipy.signal": signals,
        COMPILER: _Compiler(COMPILER),
        COMPILER_UTILS: _CompilerUtils(COMPILER_UTILS),
    }


class _Compiler(ModuleType):
    """Stands in for torch's compiler until more of it is wanted than to exempt a function."""

    def disable(self, function: Function | None = None, *args: Any, **options: Any) -> Function:  # noqa: ANN401
        """Return `function`, exempted from being compiled at its first call."""
        if function is None:
            decorator: Function = _real(COMPILER).disable(None, *args, **options)
            return decorator

        @wraps(function)
        def exempted(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            return _real(COMPILER).disable(function, *args, **options)(*given, **named)

        return exempted

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what the compiler itself has."""
        return _of_real(COMPILER, name)


class _CompilerUtils(ModuleType):
    """Stands in for a part of it, likewise."""

    def is_compile_supported(self, device_type: str) -> bool:
        """Return whether a kind of device can be compiled for."""
        supported: bool = _real(COMPILER_UTILS).is_compile_supported(device_type)
        return supported

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what the part itself has."""
        return _of_real(COMPILER_UTILS, name)


def _of_real(module: str, name: str) -> Any:  # noqa: ANN401
    """Return an attribute of a module itself; what tells of every module tells nothing here."""
    is_package = module == COMPILER and name == "__path__"
    if name.startswith("__") and not is_package:
        raise AttributeError(name)
    return getattr(_real(module), name)


def _real(name: str) -> ModuleType:
    """Import a module itself, where it has not been."""
    for one in (COMPILER, COMPILER_UTILS):
        if isinstance(sys.modules.get(one), _Compiler | _CompilerUtils):
            del sys.modules[one]
    return import_module(name)
