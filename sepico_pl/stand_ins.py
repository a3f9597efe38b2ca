"""What stands in for modules that others import and that a program of ours may never use.

Optimizers, timm and torchvision import torch's compiler (over a second) to exempt a few functions
from it, Lightning to tell what it made; timm imports Weights & Biases for a log; torchmetrics
imports scipy's signals to give them an old name, and matplotlib for the types of drawings.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any, cast

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
    """Return by name what takes the place of modules while libraries are imported.

    Returns:
        None for "not there".
    """
    return {"wandb": None, SIGNALS: _Signals(SIGNALS), **_drawing()}


def compiler() -> dict[str, ModuleType]:
    """Return what takes the place of torch's compiler until something is compiled."""
    return {COMPILER: _Compiler(COMPILER), COMPILER_UTILS: _CompilerUtils(COMPILER_UTILS)}


@contextmanager
def standing_in(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """Let others take the place of modules that are not imported yet; None for "not there"."""
    new = stand_in(modules)
    try:
        yield
    finally:
        for name in new:
            if sys.modules.get(name) is modules[name]:
                del sys.modules[name]


def stand_in(modules: Mapping[str, ModuleType | None]) -> list[str]:
    """Let others take the place of modules until more of these is wanted.

    Returns:
        The names of those that are not imported yet; the others stay.
    """
    if not any(isinstance(finder, _Parts) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Parts())
    new = [name for name in modules if name not in sys.modules]
    sys.modules.update(cast(dict[str, ModuleType], {name: modules[name] for name in new}))
    return new


class _StandIn(ModuleType):
    """Takes the place of a module until more of it is wanted than its subclass has."""

    def __init__(self, name: str) -> None:
        """Look like a package that was imported."""
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what the module itself has; what every module has is looked up nowhere else."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _Parts(MetaPathFinder):
    """Finds the parts of packages that have stand-ins: those of the packages themselves."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how a part is imported; None where its package has no stand-in."""
        package = fullname.rpartition(".")[0]
        if not isinstance(sys.modules.get(package), _StandIn):
            return None
        _real(package)
        part = import_module(fullname)
        del sys.modules[fullname]  # what is there would be read from its file once more
        return ModuleSpec(fullname, _Imported(part))


class _Imported(Loader):
    """Loads a module that is imported already."""

    def __init__(self, module: ModuleType) -> None:
        """Take it as it is."""
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Leave it as it was."""
        vars(module)["__spec__"] = self.spec


class _Signals(_StandIn):
    """Stands in for scipy's signals."""

    hamming = None


class _ClassOf(type):
    """A class that stands in for the one of its name in a module; its instances are that one's."""

    module: str

    def __instancecheck__(cls, one: object) -> bool:
        """Return whether it is of that class; nothing is while the module is not imported."""
        module = sys.modules.get(cls.module)
        is_imported = module is not None and not isinstance(module, _StandIn)
        return is_imported and isinstance(one, getattr(module, cls.__name__))


def _drawing() -> dict[str, ModuleType]:
    """Return what stands in for matplotlib: a few names for types, and the style of drawings."""
    whole, axes, plotting = (_StandIn(name) for name in (DRAWING, AXES, PLOTTING))
    colours, style = SimpleNamespace(Colormap=object), SimpleNamespace(context=_style)
    vars(whole).update(axes=axes, pyplot=plotting, colors=colours)
    vars(axes).update(Axes=_ClassOf("Axes", (), {"module": AXES}))
    vars(plotting).update(Figure=object, style=style)
    return {DRAWING: whole, AXES: axes, PLOTTING: plotting}


@contextmanager
def _style(*args: Any, **options: Any) -> Iterator[None]:  # noqa: ANN401
    with _real(PLOTTING).style.context(*args, **options):
        yield


class _Compiler(_StandIn):
    """Stands in for torch's compiler: without it nothing is being compiled."""

    OptimizedModule = _ClassOf("OptimizedModule", (), {"module": COMPILER})

    def disable(self, function: Function | None = None, *args: Any, **options: Any) -> Function:  # noqa: ANN401
        """Return `function`, exempted from being compiled once there is a compiler."""
        if function is None:
            return lambda one: self.disable(one, *args, **options)

        @wraps(function)
        def exempted(*given: Any, **named: Any) -> Any:  # noqa: ANN401
            if isinstance(sys.modules.get(COMPILER, self), _StandIn):
                return function(*given, **named)
            return _real(COMPILER).disable(function, *args, **options)(*given, **named)

        return exempted

    def graph_break(self, msg: str = "") -> None:
        """Do nothing: there is no graph."""


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
