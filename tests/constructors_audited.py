"""Builds what `test_constructors.BUILT` configures; ends at the first write, start or request."""

import os
import sys
from collections.abc import Iterator

import torch
from command_line import configured
from test_constructors import BUILT, EVALUATION_ONLY

import sepico_pl.runner  # noqa: F401  # matplotlib, which it brings, makes a folder for itself
from sepico_pl.assembly import build, build_data, build_task
from sepico_pl.constructors import PARTS, TARGET

STARTS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.")
FETCHES = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.", "http.")
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "shutil.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
audited: list[str] = []


def hook(event: str, arguments: tuple) -> None:
    """End the process at what no constructor may do."""
    if not audited:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    if (writes and arguments[0] != os.devnull) or event.startswith((*STARTS, *FETCHES, *WRITES)):
        audited.clear()
        print(f"{event} {arguments}", file=sys.stderr, flush=True)
        os._exit(1)


def names_in(node: object) -> Iterator[str]:
    """Yield every `_target_` below a node."""
    if isinstance(node, dict):
        if TARGET in node:
            yield node[TARGET]
        for value in node.values():
            yield from names_in(value)


def main() -> None:
    """Build them, and print the names."""
    sys.dont_write_bytecode = True
    sys.addaudithook(hook)
    torch.manual_seed(0)
    for words in BUILT:
        plain = configured(*words)
        audited.append("now")
        build_task(plain, build_data(plain).pair)
        audited.clear()
        sections = {key.split(".")[0] for key in PARTS}
        print("\n".join(name for key in sections for name in names_in(plain[key])))
    audited.append("now")
    build("dataset", EVALUATION_ONLY)
    audited.clear()
    print(EVALUATION_ONLY[TARGET])


if __name__ == "__main__":
    main()
