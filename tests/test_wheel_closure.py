"""What is said of wheels for a machine without a network (`scripts/wheel_closure.py`)."""

import zipfile
from pathlib import Path

import pytest
import wheel_closure
from packaging.requirements import Requirement
from wheel_closure import Package, close, read_installed, read_list, read_project, read_wheels

ROOT = Path(__file__).resolve().parents[1]


def make_wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")


def missing(tmp_path: Path, *project: str, **machine: str | None) -> list[str]:
    packages = {name: Package(version) for name, version in machine.items()}
    return close(map(Requirement, project), read_wheels(tmp_path), packages).missing


def test_requirements_are_followed_through_wheels(tmp_path: Path) -> None:
    make_wheel(tmp_path, "Upper_Name", "1.0", "middle>=2")
    make_wheel(tmp_path, "middle", "2.1", "lower<4,>=3", "upper-name")
    assert missing(tmp_path, "upper.name") == ["lower<4,>=3 (middle)"]
    assert missing(tmp_path, "upper.name", lower="3.5") == []


@pytest.mark.parametrize(
    ("need", "asked"),
    [
        ('other; python_version < "3.10"', False),
        ('other; python_version == "3.12"', True),
        ('other; python_full_version == "3.12.3"', True),
        ('other; sys_platform == "win32"', False),
        ('other; platform_machine == "x86_64"', True),
        ('other; extra == "unasked"', False),
        ('other; extra == "asked"', True),
    ],
)
def test_markers_are_those_of_the_machine(tmp_path: Path, need: str, asked: bool) -> None:
    make_wheel(tmp_path, "first", "1.0", need)
    assert missing(tmp_path, "first[asked]") == (["other (first)"] if asked else [])


def test_an_extra_asked_for_later_counts(tmp_path: Path) -> None:
    make_wheel(tmp_path, "first", "1.0", 'other; extra == "net"')
    make_wheel(tmp_path, "second", "1.0", "first[net]")
    assert missing(tmp_path, "first", "second") == ["other (first)"]


@pytest.mark.parametrize(
    ("version", "need", "met"),
    [
        ("2.11.0+cu130", "torch>=2.11", True),
        ("2.11.0+cu130", "torch>=2.12", False),
        ("1.0b2", "torch==1.0b2", True),
        ("1.0b2", "torch~=1.0", False),
    ],
)
def test_versions_of_the_machine(tmp_path: Path, version: str, need: str, met: bool) -> None:
    make_wheel(tmp_path, "first", "1.0")
    expected = [] if met else [f"{need} (sepico_pl), not {version}"]
    assert missing(tmp_path, need, torch=version) == expected


def test_a_wheel_hides_the_package_of_the_machine(tmp_path: Path) -> None:
    make_wheel(tmp_path, "first", "1.0")
    assert missing(tmp_path, "first>=2", first="2.0") == ["first>=2 (sepico_pl), not 1.0"]


def test_versions_that_nobody_knows_are_named(tmp_path: Path) -> None:
    make_wheel(tmp_path, "first", "1.0")
    project = [Requirement("any"), Requirement("newer>=3")]
    machine = {"any": Package(None), "newer": Package(None)}
    assert close(project, read_wheels(tmp_path), machine) == ([], {"newer"})


def test_the_list_of_the_machine_lacks_what_is_carried() -> None:
    machine = read_list(ROOT / "scripts/gpu_machine.txt")
    lacking = {text.split(" ")[0] for text in close(read_project(), {}, machine).missing}
    assert "omegaconf<2.4,>=2.3" in lacking
    assert not {text for text in lacking if text.startswith(("torch", "numpy", "timm"))}
    script = (ROOT / "scripts/gpu_wheels.sh").read_text()
    for text in lacking:
        assert f" {Requirement(text).name} " in script.replace("\n", " ")


def test_what_is_installed_here_meets_the_project() -> None:
    assert close(read_project(), {}, read_installed()).missing == []


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_half_a_wheel_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "first-1.0-py3-none-any.whl").write_bytes(content)
    with pytest.raises(SystemExit, match=r"first-1.0-py3-none-any.whl is not a whole wheel"):
        read_wheels(tmp_path)


def test_lines_that_end_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no wheel in"):
        wheel_closure.main([str(tmp_path)])
    make_wheel(tmp_path, "first", "1.0")
    machine = tmp_path / "machine.txt"
    with pytest.raises(SystemExit, match=r"machine.txt: No such file"):
        wheel_closure.main([str(tmp_path), str(machine)])
    machine.write_text("# a comment\ntorch==2.11.0 # another\nnumpy>=2\n")
    with pytest.raises(SystemExit, match=r"machine.txt, line 3: not"):
        wheel_closure.main([str(tmp_path), str(machine)])
    machine.write_text("torch==2.11.0\n")
    with pytest.raises(SystemExit, match=r"neither carried nor there: .*hydra-core"):
        wheel_closure.main([str(tmp_path), str(machine)])
    machine.write_text("\n".join(needed.name for needed in read_project()))
    wheel_closure.main([str(tmp_path), str(machine)])
    assert "1 wheels: every requirement is carried or there" in capsys.readouterr().out
