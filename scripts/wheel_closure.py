"""What the project and a folder of wheels need that neither the wheels nor a machine have.

    python scripts/wheel_closure.py .wheels scripts/gpu_machine.txt   # a machine, by its list
    python scripts/wheel_closure.py .wheels                           # this one, by what it has

Exits with 1 and one line if anything is missing or of a version that does not do.
"""

import re
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
THERE = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.3",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.12.3",
    "python_version": "3.12",
    "sys_platform": "linux",
}


class Package(NamedTuple):
    """A package that is carried or installed; `version` is None where it is not known."""

    version: str | None
    requirements: tuple[Requirement, ...] = ()


class Closure(NamedTuple):
    """Requirements that are not met, and the packages whose version is asked for but not known."""

    missing: list[str]
    unknown: set[str]


def read_wheels(folder: Path) -> dict[str, Package]:
    """Read name, version and requirements of each wheel in `folder`.

    Raises:
        SystemExit: there is no wheel, or one cannot be read.
    """
    wheels: dict[str, Package] = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
                found = Metadata.from_email(archive.read(name), validate=False)
        except (OSError, zipfile.BadZipFile, StopIteration):
            raise SystemExit(f"error: {path} is not a whole wheel: bring it again") from None
        needs = tuple(found.requires_dist or ())
        wheels[canonicalize_name(found.name)] = Package(str(found.version), needs)
    if not wheels:
        raise SystemExit(f"error: no wheel in {folder}: run scripts/gpu_wheels.sh")
    return wheels


def read_list(path: Path) -> dict[str, Package]:
    """Read a machine's packages: lines of `name` or `name==version`, and comments.

    Raises:
        SystemExit: the file or a line of it cannot be read.
    """
    packages: dict[str, Package] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SystemExit(f"error: {path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        row = re.fullmatch(r"([\w.-]+)(?:==(\S+))?", text)
        if row is None:
            raise SystemExit(f"error: {path}, line {number}: not `name` or `name==version`: {text}")
        packages[canonicalize_name(row[1])] = Package(row[2])
    return packages


def read_installed() -> dict[str, Package]:
    """List what this interpreter would import; the first on its path counts."""
    packages: dict[str, Package] = {}
    for found in metadata.distributions():
        packages.setdefault(canonicalize_name(found.name), Package(found.version))
    return packages


def read_project() -> list[Requirement]:
    """Read the project's dependencies, without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"]]


def applies(needed: Requirement, extras: Iterable[str]) -> bool:
    """Tell whether a requirement holds on the machine for a package asked for with `extras`."""
    marker = needed.marker
    return marker is None or any(marker.evaluate({**THERE, "extra": e}) for e in ("", *extras))


def close(
    project: Iterable[Requirement], wheels: Mapping[str, Package], machine: Mapping[str, Package]
) -> Closure:
    """Follow the project's requirements through the wheels, which hide the machine's packages.

    What the machine's own packages need is taken to be there.
    """
    waiting = [("sepico_pl", needed) for needed in project if applies(needed, ())]
    seen: set[tuple[str, str]] = set()
    closure = Closure([], set())
    while waiting:
        asker, needed = waiting.pop(0)
        if (asker, str(needed)) in seen:
            continue
        seen.add((asker, str(needed)))
        name = canonicalize_name(needed.name)
        held = wheels.get(name) or machine.get(name)
        text = f"{needed.name}{needed.specifier} ({asker})"
        if held is None:
            closure.missing.append(text)
        elif held.version is None:
            if needed.specifier:
                closure.unknown.add(name)
        elif not needed.specifier.contains(held.version, prereleases=True):
            closure.missing.append(f"{text}, not {held.version}")
        else:
            waiting += [(name, r) for r in held.requirements if applies(r, needed.extras)]
    return closure


def main(arguments: list[str]) -> None:
    """Print what is missing, or that nothing is.

    Raises:
        SystemExit: something is missing, or an argument cannot be read.
    """
    if len(arguments) not in (1, 2):
        raise SystemExit("usage: wheel_closure.py <folder of wheels> [<list of packages>]")
    wheels = read_wheels(Path(arguments[0]))
    machine = read_list(Path(arguments[1])) if len(arguments) == 2 else read_installed()
    closure = close(read_project(), wheels, machine)
    if closure.missing:
        raise SystemExit(f"error: neither carried nor there: {'; '.join(sorted(closure.missing))}")
    print(f"{len(wheels)} wheels: every requirement is carried or there")
    if closure.unknown:
        print(f"there, but of a version not known here: {', '.join(sorted(closure.unknown))}")


if __name__ == "__main__":
    main(sys.argv[1:])
