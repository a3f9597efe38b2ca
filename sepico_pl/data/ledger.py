"""What was checked before, so that a data set is decoded whole once and not at every start."""

import json
import os
from pathlib import Path
from typing import Any

from sepico_pl.json_files import DAMAGED, parsed

Record = dict[str, Any]


class Ledger:
    """Records of checked files in a JSON-lines file; a changed file has another key.

    Lines are appended as files are checked: an interrupted check goes on where it was, and a line
    cut short counts for nothing.

    Args:
        path: the file, made on first use; None to remember nothing.
    """

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self.path = path
        self.records: dict[str, Record] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    entry = parsed(line)
                    if is_record(entry["record"]):
                        self.records[entry["key"]] = entry["record"]
                except (*DAMAGED, KeyError, TypeError):
                    continue

    def find(self, key: str) -> Record | None:
        """Return what was recorded under a key."""
        return self.records.get(key)

    def add(self, entries: dict[str, Record]) -> None:
        """Append records; where they cannot be written they hold for this process alone."""
        self.records |= entries
        if self.path is None or not entries:
            return
        lines = [json.dumps({"key": key, "record": record}) for key, record in entries.items()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" + "\n".join(lines) + "\n")
        except OSError as error:
            print(f"{self.path}: checked files cannot be recorded ({error.strerror})")
            self.path = None


def is_record(content: object) -> bool:
    """Whether this may be a record: sizes of images, and the pixels of each class of a label."""
    if not isinstance(content, dict) or not isinstance(content.get("sizes"), list):
        return False
    numbers = [content.get("counts", []), *content["sizes"]]
    are_lists = all(isinstance(one, list) for one in numbers)
    has_sizes = bool(content["sizes"]) and all(len(one) == 2 for one in numbers[1:] if are_lists)
    return (
        are_lists and has_sizes and all(type(x) is int and x >= 0 for one in numbers for x in one)
    )


def fingerprint(*paths: Path) -> str:
    """Return a key that changes with a file's place, size or time."""
    parts = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            parts.append(f"{path}?")
        else:
            parts.append(f"{path}|{status.st_size}|{status.st_mtime_ns}")
    return "|".join(parts)
