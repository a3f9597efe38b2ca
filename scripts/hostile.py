"""Print the table of hostile cases: what is done to a run, and how it ends.

    python scripts/hostile.py [--only WORD]

The cases stand in tests/hostile_table.py, and `make test` runs them too. Those that need a disk of
their own mount a tmpfs, which needs root.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
os.environ.update(WANDB_MODE="offline", NO_ALBUMENTATIONS_UPDATE="1", HF_HUB_OFFLINE="1")

from hostile_cases import CannotBeDone, faults
from hostile_table import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this")
    only = parser.parse_args().only
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    failed = 0
    cases = [case for case in CASES if only in case.name]
    for number, case in enumerate(cases, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = faults(case, Path(folder).resolve())
            except CannotBeDone as error:
                found = [f"not tried: {error}"]
        failed += bool(found)
        ending = "; ".join(found) or ("taken" if case.code == 0 else "refused in one line")
        print(f"{number:3}  {case.module:15}  {case.name:42}  {ending}", flush=True)
    print(f"{len(cases)} cases: {len(cases) - failed} handled, {failed} not")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
