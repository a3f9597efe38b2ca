"""Text of users, files and errors, where others read markup: terminals, Markdown, spreadsheets."""

import io
import re
import sys
import unicodedata

HARMLESS = re.compile(r"(?! )([^\W_]|[ ,%±-])*(?<! )")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
LONGEST_LINE = 200
CONTROLS = ("C", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Write out what would steer a terminal or hide in a page: `\x1b`, newlines, surrogates."""
    return "".join(
        sign.encode("unicode_escape").decode("ascii")
        if unicodedata.category(sign).startswith(CONTROLS)
        else sign
        for sign in text
    )


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its class; printable, and not long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0][:LONGEST_LINE])


def in_markdown(text: str) -> str:
    """Quote text for GitHub's Markdown, tables too: as it is if it is plain words, else as code."""
    shown = printable(text)
    return shown if HARMLESS.fullmatch(shown) else as_code(text)


def as_code(text: str) -> str:
    """Return text as a code span that nothing in it can end, nor a table's cell."""
    shown = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    ends = shown[:1] + shown[-1:]
    space = " " if "`" in ends or ends in ("", "  ") else ""
    return f"{fence}{space}{shown}{space}{fence}".replace("|", r"\|")


def in_csv(cell: object) -> object:
    """Return a cell of a CSV file: text that a spreadsheet would compute gets a quote in front."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def never_fail_to_print() -> None:
    """Let the standard output write out what its encoding lacks, instead of ending the program."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def no_images(images: str) -> str:
    """Say that `images=` names nothing that is there."""
    return f"images={images}: there is no such file or folder; name one, or a pattern"


def no_root(folder: object, name: str) -> str:
    """Say that there is no folder of a data set, and how to name it.

    Args:
        folder: that was looked for.
        name: of the data set in `paths`.
    """
    return (
        f"{folder}: there is no such folder for {name}; set paths.{name}=<folder>, or "
        "data_root=<folder of all data sets>, or the environment variable SEPICO_DATA"
    )


def quoted_value(text: str) -> str:
    """Return text in quotes for Hydra's grammar, where a backslash counts only before a quote."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"
