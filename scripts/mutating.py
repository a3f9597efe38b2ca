"""Small faults that can be put into a source file, found on its syntax tree.

Each is a piece of the text and what stands there instead, so that all else of the file stays as it
was. Left alone: docstrings, annotations, texts, and what stands in f-strings (until Python 3.12 the
tree does not say where).
"""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
OPPOSITES = {"min": "max", "max": "min", "amin": "amax", "amax": "amin", "zeros": "ones"}
UNTOLD_DECORATORS = {"abstractmethod", "overload"}
SYMMETRIC = {"min", "max", "promote_types", "isclose"}


@dataclass(frozen=True)
class Mutant:
    """`text` in place of `start` to `end` of the module, counted in bytes of its UTF-8."""

    module: str
    line: int
    start: int
    end: int
    text: str
    operator: str

    def apply(self, source: bytes) -> bytes:
        """Put the fault into the module's source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def change(self, source: bytes) -> str:
        """Show the first line that is another, before and after."""
        pairs = itertools.zip_longest(
            source.decode().splitlines(), self.apply(source).decode().splitlines(), fillvalue=""
        )
        old, new = next(pair for pair in pairs if pair[0] != pair[1])
        return f"- {old.strip()}\n    + {new.strip()}"


def find_mutants(module: str, source: bytes) -> list[Mutant]:
    """Return every fault of these kinds that can be put into a module, in their order there."""
    offsets = [0, *itertools.accumulate(len(line) for line in source.splitlines(keepends=True))]
    found = []
    for node in _mutable(ast.parse(source)):
        for place, text, operator in _faults(node):
            start = offsets[place.lineno - 1] + place.col_offset
            assert place.end_lineno is not None
            assert place.end_col_offset is not None
            end = offsets[place.end_lineno - 1] + place.end_col_offset
            if isinstance(node, ast.FunctionDef) and operator == "decorator":
                start -= 1
            mutant = Mutant(module, place.lineno, start, end, text, operator)
            if mutant.apply(source) != source:
                found.append(mutant)
    return sorted(found, key=lambda mutant: (mutant.start, mutant.end, mutant.text))


def _mutable(node: ast.AST) -> Iterator[ast.AST]:
    """Go through all nodes but annotations, f-strings and protocols."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _untold(child):
                yield from _mutable(child)


def _untold(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "cast"
    return isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom)


Fault = tuple[ast.expr | ast.stmt, str, str]


def _faults(node: ast.AST) -> Iterator[Fault]:
    """Yield what is replaced, by what, and the kind of fault."""
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC:
            other = ARITHMETIC[type(operator)]()
            yield node, _text(ast.BinOp(node.left, other, node.right)), "arithmetic"
        case ast.AugAssign(op=operator) if type(operator) in ARITHMETIC:
            other = ARITHMETIC[type(operator)]()
            changed = ast.AugAssign(node.target, other, node.value)
            yield node, ast.unparse(changed), "arithmetic"
        case ast.Constant():
            yield from _constants(node)
        case ast.BoolOp(op=operator):
            either = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield node, _text(ast.BoolOp(either, node.values)), "boolean"
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, _text(node.operand), "boolean"
        case ast.If() | ast.IfExp():
            yield node.test, _text(ast.UnaryOp(ast.Not(), node.test)), "boolean"
        case ast.Call():
            yield from _calls(node)
        case ast.FunctionDef():
            yield from _decorators(node)
    yield from _statements(node)


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _comparisons(node: ast.Compare) -> Iterator[Fault]:
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            operators = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            changed = ast.Compare(node.left, operators, node.comparators)
            yield node, _text(changed), "comparison"


def _constants(node: ast.Constant) -> Iterator[Fault]:
    if isinstance(node.value, bool):
        yield node, str(not node.value), "constant"
    elif isinstance(node.value, int):
        yield node, f"({node.value + 1})", "constant"
    elif isinstance(node.value, float):
        yield node, repr(1.1 * node.value if node.value else 0.1), "constant"


def _calls(node: ast.Call) -> Iterator[Fault]:
    """Leave out a keyword, swap the first two arguments, ask for the opposite."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else name
    for index in range(len(node.keywords)):
        rest = node.keywords[:index] + node.keywords[index + 1 :]
        yield node, ast.unparse(ast.Call(node.func, node.args, rest)), "keyword"
    starred = any(isinstance(one, ast.Starred) for one in node.args[:2])
    if len(node.args) > 1 and name not in SYMMETRIC and not starred:
        swapped = [node.args[1], node.args[0], *node.args[2:]]
        yield node, ast.unparse(ast.Call(node.func, swapped, node.keywords)), "arguments"
    if name in OPPOSITES:
        function: ast.expr = ast.Name(OPPOSITES[name])
        if isinstance(node.func, ast.Attribute):
            function = ast.Attribute(node.func.value, OPPOSITES[name])
        yield node, ast.unparse(ast.Call(function, node.args, node.keywords)), "opposite"


def _decorators(node: ast.FunctionDef) -> Iterator[Fault]:
    for decorator in node.decorator_list:
        if ast.unparse(decorator) not in UNTOLD_DECORATORS:
            yield decorator, "", "decorator"


def _statements(node: ast.AST) -> Iterator[Fault]:
    """Leave out what acts on something: a call, a write into an object, a refusal."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield node, "pass", "statement"
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield node, "pass", "statement"
