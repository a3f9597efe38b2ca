"""What stands in for modules that others import and that a program of ours may never use.

timm and torchvision import torch's compiler (over a second) to exempt a few functions from it; timm
imports Weights & Biases for a log; torchmetrics imports scipy's signals to give them an old name,
and matplotlib for the types of drawings.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

SIGNALS, COMPILER, COMPILER_UTILS = "scipy.signal", "torch._dynamo", "torch._dynamo.utils"
DRAWING, AXES, PLOTTING = "matplotlib", "matplotlib.axes", "matplotlib.pyplot"
PACKAGES = {
    SIGNALS: SIGNALS,
    **dict.fromkeys((DRAWING, AXES, PLOTTING), DRAWING),
    **dict.fromkeys((COMPILER, COMPILER_UTILS), COMPILER),
}
"""What is imported together."""
Function = Callable[..., Any]


def unwanted() -> dict[str, ModuleType | None]:
    """Return by name what takes the place of modules; None for "not there"."""
    return {
        "wandb": None,
        SIGNALS: _Signals(SIGNALS),
        **_drawing(),
        COMPILER: _Compiler(COMPILER),
        COMPILER_UTILS: _CompilerUtils(COMPILER_UTILS),
    }


class _StandIn(ModuleType):
    """Takes the place of a module until more of it is wanted than its subclass has."""

    def __init__(self, name: str) -> None:
        """Look like a module that was imported."""
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what the module itself has; what every module has is looked up nowhere else."""
        is_package = name == "__path__" and self.__name__ in (COMPILER, DRAWING)
        if name.startswith("__") and not is_package:
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Signals(_StandIn):
    """Stands in for scipy's signals."""

    hamming = None


class _AxesLater(type):
    """Tells what matplotlib's axes are once it is asked."""

    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, _real(AXES).Axes)


class _Axes(metaclass=_AxesLater):
    """Stands in for matplotlib's class of that name."""


def _drawing() -> dict[str, ModuleType]:
    """Return what stands in for matplotlib: a few names for types, and the style of drawings."""
    whole, axes, plotting = (_StandIn(name) for name in (DRAWING, AXES, PLOTTING))
    colours, style = SimpleNamespace(Colormap=object), SimpleNamespace(context=_style)
    vars(whole).update(axes=axes, pyplot=plotting, colors=colours)
    vars(axes).update(Axes=_Axes)
    vars(plotting).update(Figure=object, style=style)
    return {DRAWING: whole, AXES: axes, PLOTTING: plotting}


@contextmanager
def _style(*args: Any, **options: Any) -> Iterator[None]:  # noqa: ANN401
    with _real(PLOTTING).style.context(*args, **options):
        yield


class _Compiler(_StandIn):
    """Stands in for torch's compiler."""

    def disable(self, function: Function | None = None, *args: Any, **options: Any) -> Function:  # noqa: ANN401
        """Return `function`, exempted from being compiled at its first call."""
        if function is None:
            decorator: Function = _real(COMPILER).disable(None, *args, **options)
            return decorator

        @wraps(function)
        def exempted(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            return _real(COMPILER).disable(function, *args, **options)(*given, **named)

        return exempted


class _CompilerUtils(_StandIn):
    """Stands in for a part of it."""

    def is_compile_supported(self, device_type: str) -> bool:
        """Return whether a kind of device can be compiled for."""
        supported: bool = _real(COMPILER_UTILS).is_compile_supported(device_type)
        return supported


def _real(name: str) -> ModuleType:
    """Import a module itself, where it has not been; its stand-in and that of its part go."""
    for one, module in list(sys.modules.items()):
        if one.startswith(PACKAGES[name]) and isinstance(module, _StandIn):
            del sys.modules[one]
    return import_module(name)
