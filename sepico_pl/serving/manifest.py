"""What an output folder holds already, so that a prediction goes on where it was."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepico_pl.json_files import DAMAGED, parsed
from sepico_pl.serving.inputs import Photograph
from sepico_pl.serving.results import result_files
from sepico_pl.tables import written_whole
from sepico_pl.types import InputError

MANIFEST = "predictions.jsonl"
SHOWN = 100
Settings = Mapping[str, Any]


class Manifest:
    """A file of JSON lines in the output folder: the settings, then a line per event.

    `{"begun": name}` comes before an image's results are written and `{"done": name, "image": path,
    "bytes": size, "changed": time}` after. A line that was cut short, or holds something else,
    counts for nothing.

    Args:
        folder: of the results; nothing is made there before `begin`.
        settings: what shapes the results, plain types.

    Raises:
        InputError: if the folder holds results of other settings or does not say of which, or is a
            file.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Read what is there."""
        self.folder, self.settings = folder, settings
        self.path = folder / MANIFEST
        if folder.is_file():
            message = f"output={folder}: a file; name a folder"
            raise InputError(message)
        self.begun: set[str] = set()
        self.done: dict[str, dict[str, Any]] = {}
        has_settings = False
        for line in self._lines():
            if isinstance(line.get("settings"), dict):
                self._compare(line["settings"])
                has_settings = True
            elif isinstance(line.get("begun"), str):
                self.begun.add(line["begun"])
            elif isinstance(line.get("done"), str) and line.keys() >= {"image", "bytes", "changed"}:
                self.done[line["done"]] = line
        if self.path.is_file() and not has_settings:
            message = (
                f"{self.path}: damaged, it does not say of which settings the results are; "
                "restore it, or choose another output"
            )
            raise InputError(message)

    def pending(self, photographs: Iterable[Photograph]) -> list[Photograph]:
        """Return the images that have no results yet, lack one, or changed since.

        Raises:
            InputError: if a file of somebody else's is where a result would be written.
        """
        return [one for one in photographs if not self._is_done(one)]

    def begin(self, photographs: Sequence[Photograph]) -> None:
        """Note that results will be written."""
        if not self.path.is_file():
            with written_whole(self.path) as path:
                path.write_text(json.dumps({"settings": self.settings}), encoding="utf-8")
        self._append([{"begun": one.name} for one in photographs])

    def finish(self, photographs: Sequence[Photograph]) -> None:
        """Note that results are there, and what they are of."""
        self._append([{"done": one.name, **_state(one.path)} for one in photographs])

    def size(self) -> int:
        """Return the bytes of the file; 0 where there is none yet."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def sort(self, order: Mapping[str, int], first: int) -> None:
        """Bring what processes appended side by side into the order of one.

        Args:
            order: place of the batch by the name of each of its images.
            first: bytes of the file that stay as they are.
        """
        content = self.path.read_bytes()
        lines = content[first:].decode("utf-8").split("\n")
        lines.sort(key=lambda line: order.get(_name(line), -1))
        with written_whole(self.path) as path:
            path.write_bytes(content[:first] + "\n".join(lines).encode("utf-8"))

    def _is_done(self, photograph: Photograph) -> bool:
        files = result_files(self.folder, photograph.name, logits=self.settings["logits"])
        taken = [path for path in files.values() if path.exists()]
        before = self.done.get(photograph.name)
        if before is None:
            if taken and photograph.name not in self.begun:
                message = f"{taken[0]} is there already and of no prediction; choose another output"
                raise InputError(message)
            return False
        now = _state(photograph.path)
        if all(now[key] == before[key] for key in ("bytes", "changed")):
            return len(taken) == len(files)
        if now["image"] != before["image"]:
            origin = str(before["image"])[:SHOWN]
            message = (
                f"output={self.folder}: {photograph.name} is of {origin}, not of "
                f"{photograph.path}; choose another output"
            )
            raise InputError(message)
        print(f"{photograph.path} changed since it was predicted: once more")
        return False

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        for text in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                line = parsed(text)
            except DAMAGED:
                continue
            if isinstance(line, dict):
                yield line

    def _compare(self, before: Settings) -> None:
        changed = [
            f"{key} was {str(before.get(key))[:SHOWN]} and is {value}"
            for key, value in self.settings.items()
            if before.get(key) != value
        ]
        if changed:
            message = (
                f"output={self.folder}: its results are of other settings ({'; '.join(changed)}); "
                "choose another output"
            )
            raise InputError(message)

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(f"\n{json.dumps(line)}" for line in lines)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)


def _name(line: str) -> str:
    """Return the image that a line of ours is about; "" for none."""
    event = json.loads(line or "{}")
    return str(event.get("begun") or event.get("done") or "")


def _state(path: Path) -> dict[str, Any]:
    """Return what changes with a file."""
    status = path.stat()
    return {"image": str(path.absolute()), "bytes": status.st_size, "changed": status.st_mtime_ns}
