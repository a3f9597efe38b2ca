"""Users' words where others read markup: a parser of Markdown, a terminal, a spreadsheet."""

import csv
import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sepico_pl.quoting import as_code, in_csv, in_markdown, printable
from sepico_pl.reporting.comparing_output import csv_text

HOSTILE = [
    "a|b",
    "a\\|b",
    "`code`",
    "``",
    "`",
    " `a",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://x.example/a.png)",
    "a\n\n# heading",
    "a\r\n---\nb: c",
    "**bold** ~~gone~~ @someone #1",
    "www.example.org",
    "<!--",
    "&lt;b&gt;",
    "  two blanks  ",
    "_a_ b",
]
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


def cells_of(table: str) -> list[list]:
    """Return the tokens in each cell of a rendered table's only row."""
    tokens = MARKDOWN.parse(table)
    inside = [
        tokens[index + 1].children for index, token in enumerate(tokens) if token.type == "td_open"
    ]
    assert tokens[0].type == "table_open"
    assert tokens[-1].type == "table_close"
    return inside


def check_cell(quoted: str, text: str) -> None:
    first, second = cells_of(f"| a | b |\n|---|---|\n| {quoted} | end |\n")
    assert {token.type for token in first} <= {"text", "code_inline"}
    assert "".join(token.content for token in first) == text
    assert [token.content for token in second] == ["end"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("quote", [as_code, in_markdown])
def test_markdown_shows_text_as_it_is(quote, text: str) -> None:
    check_cell(quote(text), printable(text))


@given(st.text(alphabet=st.characters() | st.sampled_from("|`\\<>[]*_ \n"), min_size=1))
def test_any_text_stays_in_its_cell(text: str) -> None:
    for quote in (as_code, in_markdown):
        if text.strip(" "):
            check_cell(quote(text), printable(text))


def test_plain_words_stay_plain() -> None:
    assert in_markdown("traffic light") == "traffic light"
    assert in_markdown("Straße 2") == "Straße 2"


@given(st.text(alphabet=st.characters(codec=None) | st.sampled_from("\x1b\x00\ud800\u202e")))
def test_printed_text_steers_no_terminal(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not set(shown) & {chr(code) for code in [*range(32), 127, *range(128, 160)]}


def test_a_spreadsheet_computes_nothing() -> None:
    cells = ["=1+1", "+1", "-1", "@a", "\t=1", "road", "a=b", -1.5, None, 3, "\uff1d1"]
    (row,) = csv.reader(io.StringIO(csv_text([cells])))
    assert row == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@a",
        "'\t=1",
        "road",
        "a=b",
        "-1.5",
        "",
        "3",
        "'\uff1d1",
    ]
    assert in_csv(-1.5) == -1.5


def test_an_ascii_terminal_gets_all_tables() -> None:
    program = (
        "from sepico_pl.tables import print_scores\n"
        "names = ['Straße', 'road [/]', '[bold]', ':smile:', 'a\\x1b[2Jb', '\\ud800']\n"
        "scores = {'mIoU': 1.0, **{f'IoU/{name}': 2.0 for name in names}}\n"
        "print_scores('title [/] ü', names, {'run [/red]': scores})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode("ascii")
    for name in ("Stra\\xdfe", "road [/]", "[bold]", ":smile:", r"a\x1b[2Jb", r"\ud800", "[/red]"):
        assert name in printed
