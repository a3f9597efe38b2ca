"""The arguments of what a configuration names, read from its source: nothing is imported."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

PACKAGE = "sepico_pl"
DEFINED_IN = {"pytorch_lightning.Trainer": "pytorch_lightning.trainer.trainer.Trainer"}
"""Where a name that is offered elsewhere is defined."""
CONSTRUCTOR = "__init__"


class Signature(NamedTuple):
    """The arguments of a function or class.

    Attributes:
        names: of all.
        required: of those that have no default.
    """

    names: frozenset[str]
    required: frozenset[str]


def signature_of(target: object) -> Signature | None:
    """Return the arguments of a `_target_`; None where its source does not tell.

    Args:
        target: a dotted name, as `pytorch_lightning.Trainer`.
    """
    if not isinstance(target, str):
        return None
    module, _, name = DEFINED_IN.get(target, target).rpartition(".")
    source = _source(module)
    if source is None:
        return None
    tree = ast.parse(source).body
    defined = {node.name: node for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    function = _constructor(name, defined)
    if function is not None:
        return _signature(function)
    bases = _bases(defined.get(name))
    imported = (
        signature_of(f"{node.module}.{one.name}")
        for node in tree
        if isinstance(node, ast.ImportFrom)
        for one in node.names
        if one.name in bases
    )
    return next(filter(None, imported), None)


def _source(module: str) -> str | None:
    package, *inside = module.split(".")
    if package not in (PACKAGE, *(name.partition(".")[0] for name in DEFINED_IN)):
        return None
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    file = Path(found.origin).parent.joinpath(*inside).with_suffix(".py")
    return file.read_text(encoding="utf-8") if inside and file.is_file() else None


def _constructor(
    name: str, defined: dict[str, ast.FunctionDef | ast.ClassDef]
) -> ast.FunctionDef | None:
    """Return a function, or what makes a class: its own or that of a base in the same file."""
    node = defined.get(name)
    if not isinstance(node, ast.ClassDef):
        return node
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == CONSTRUCTOR:
            return one
    return next(filter(None, (_constructor(base, defined) for base in _bases(node))), None)


def _bases(node: ast.stmt | None) -> list[str]:
    """Return the bases of a class, in their order."""
    if not isinstance(node, ast.ClassDef):
        return []
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def _signature(function: ast.FunctionDef) -> Signature | None:
    arguments = function.args
    if arguments.kwarg is not None:
        return None
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    named = [one.arg for one in arguments.kwonlyargs]
    without = positional[: len(positional) - len(arguments.defaults)]
    without += [
        name for name, default in zip(named, arguments.kw_defaults, strict=True) if default is None
    ]
    return Signature(frozenset([*positional, *named]) - {"self"}, frozenset(without) - {"self"})
