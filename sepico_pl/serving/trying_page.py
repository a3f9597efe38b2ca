"""The try-out page around `trying.answer`, by Gradio; on this machine alone."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from sepico_pl.serving.trying import Side, answer
from sepico_pl.types import InputError

HERE = "127.0.0.1"
HEADER = """
<h1>What the network sees</h1>
<p>Drop an image. It stays on this machine.</p>
"""


def page_of(sides: Sequence[Side]) -> gr.Blocks:
    """Build the page: an image in, the answer below."""
    page = gr.Blocks(title="sepico_pl", analytics_enabled=False)
    with page:
        gr.HTML(HEADER, padding=True)
        file = gr.File(label="Image", file_types=["image"], elem_id="image")
        result = gr.HTML(elem_id="result", apply_default_css=False)
        file.change(partial(answer, sides=sides), file, result, api_visibility="private")
    return page


@contextmanager
def served(sides: Sequence[Side], port: int | None, *, open_browser: bool) -> Iterator[gr.Blocks]:
    """Serve the page while the context lasts.

    Args:
        sides: the networks, one or two.
        port: None for a free one.
        open_browser: whether to show it at once.

    Raises:
        InputError: if the port is taken.
    """
    page = page_of(sides)
    try:
        page.launch(
            server_name=HERE,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            theme=gr.themes.Default(font="system-ui", font_mono="ui-monospace"),
        )
    except OSError as error:
        message = f"port={port} is taken; choose another, or null for a free one"
        raise InputError(message) from error
    try:
        yield page
    finally:
        page.close()
