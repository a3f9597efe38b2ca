"""What a bound on memory measures: the process itself, not the one that started it."""

from command_line import run_measured

PARENT = """
import os, subprocess, sys
held = bytearray(400 << 20)
code = "from peak_memory import peak_memory; {}; print(peak_memory() >> 20)"
for work in ("0", "bytearray(200 << 20)"):
    print(subprocess.check_output([sys.executable, "-c", code.format(work)], text=True).strip())
"""


def test_a_child_does_not_count_what_its_parent_holds() -> None:
    done = run_measured(PARENT)
    assert done.returncode == 0, done.stderr
    idle, working = map(int, done.stdout.split())
    assert idle < 100, "megabytes"
    assert 200 <= working < 300
