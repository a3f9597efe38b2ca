"""The faults that `scripts/mutants.py` draws from."""

import ast

from mutating import find_mutants

SOURCE = '''"""A module of 1 line."""
import torch


@torch.no_grad()
def near(values: tuple[int, 2], limit: float = 2.0, *, first: bool = True) -> "ü 3":
    """Take 3."""
    über = "ü" and values.pop(0, limit, key=1)
    self.limit = max(1, limit)
    if über < limit:
        raise ValueError(f"{über + 1}")
    return über
'''.encode()


def test_each_fault_changes_one_place_and_can_be_read() -> None:
    mutants = find_mutants("any.py", SOURCE)
    changed = [mutant.apply(SOURCE) for mutant in mutants]
    assert len(set(changed)) == len(changed)
    for source in changed:
        assert ast.dump(ast.parse(source)) != ast.dump(ast.parse(SOURCE))


def test_faults_by_hand() -> None:
    found = {mutant.change(SOURCE).split("\n")[1].strip() for mutant in find_mutants("", SOURCE)}
    arguments = 'über = "ü" and values.pop'
    assert found == {
        "+",
        '+ def near(values: tuple[int, 2], limit: float = 2.2, *, first: bool = True) -> "ü 3":',
        '+ def near(values: tuple[int, 2], limit: float = 2.0, *, first: bool = False) -> "ü 3":',
        "+ über = ('ü' or values.pop(0, limit, key=1))",
        f"+ {arguments}((1), limit, key=1)",
        f"+ {arguments}(0, limit, key=(2))",
        f"+ {arguments}(0, limit)",
        f"+ {arguments}(limit, 0, key=1)",
        "+ pass",
        "+ self.limit = max((2), limit)",
        "+ self.limit = min(1, limit)",
        "+ if (über <= limit):",
        "+ if (über >= limit):",
        "+ if (not über < limit):",
    }
