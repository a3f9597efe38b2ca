"""Make the project's virtual environment, or leave a valid one alone: `make_venv.py .venv`.

Valid means: installed by this checkout from the pyproject.toml and constraints.txt that lie here
now, its Python runs and is 3.11 or newer, and no installation into it was broken off. One that is
merely out of date is brought up to date; a broken or half-made one is made anew.

It uses the standard library only, for it runs before anything is installed.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
STAMP = "sepico_pl.requirements"
HALF_MADE = "sepico_pl.half-made"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: make_venv.py FOLDER")
    folder = Path(sys.argv[1]).absolute()
    if is_valid(folder):
        return
    if not is_usable(folder):
        create(folder)
    install(folder)


def is_valid(folder: Path) -> bool:
    """Say whether the environment is finished and made from the requirements as they are now."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == requirements(folder) and is_usable(folder)


def requirements(folder: Path) -> str:
    """Return a digest of what is asked for and of the two places that scripts inside refer to."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    content = b"\0".join([*(file.read_bytes() for file in files), bytes(ROOT), bytes(folder)])
    return hashlib.sha256(content).hexdigest()


def is_usable(folder: Path) -> bool:
    """Say whether pip can install here: nothing was broken off, and this Python and its pip run."""
    if (folder / HALF_MADE).exists() or not (folder / "pyvenv.cfg").is_file():
        return False
    question = [python_of(folder), "-c", f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"]
    try:
        answer = subprocess.run(question, capture_output=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0


def create(folder: Path) -> None:
    """Make an empty environment, in place of a broken one; refuse to delete anything else."""
    mark = folder / HALF_MADE
    folder.mkdir(parents=True, exist_ok=True)
    ours = mark.exists() or (folder / "pyvenv.cfg").is_file()
    if any(folder.iterdir()) and not ours:
        sys.exit(f"error: {folder} is no virtual environment; move it away, or set VENV=FOLDER")
    print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
    mark.touch()
    for entry in set(folder.iterdir()) - {mark}:
        remove(entry)
    venv.create(folder, with_pip=True)


def remove(entry: Path) -> None:
    """Delete a file, a link or a folder with what is in it."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def install(folder: Path) -> None:
    """Install the project with its tools; the mark of a half-made environment stands meanwhile."""
    print(f"installing into {folder} (some minutes the first time)", flush=True)
    (folder / STAMP).unlink(missing_ok=True)
    (folder / HALF_MADE).touch()
    command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    what = ["--constraint", "constraints.txt", "--editable", ".[dev]"]
    done = subprocess.run([python_of(folder), *command, *what], cwd=ROOT, check=False)
    (folder / HALF_MADE).unlink()
    if done.returncode != 0:
        sys.exit(f"error: pip could not install into {folder}; its message is above")
    (folder / STAMP).write_text(requirements(folder))


def python_of(folder: Path) -> Path:
    """Return the path of the environment's interpreter."""
    return folder / "bin" / "python"


if __name__ == "__main__":
    main()
