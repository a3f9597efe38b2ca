"""The try-out page around `trying.answer`, by Gradio; on this machine alone."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from sepico_pl.data.files import LARGEST
from sepico_pl.serving.trying import Side, answer
from sepico_pl.types import InputError

HERE = "127.0.0.1"
LARGEST_UPLOAD = 3 * LARGEST + (1 << 20)
"""Bytes of a file: the largest image that is read, uncompressed."""
UPLOAD_SECONDS, SWEEP_SECONDS = 300, 60
"""Seconds that an upload is kept, and between two looks for older ones."""
SHUTDOWN_SECONDS = 3
"""Seconds that open connections have to end when the page does."""
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
HEADER = """
<h1>What the network sees</h1>
<p>Drop an image. It stays on this machine.</p>
"""


def page_of(sides: Sequence[Side]) -> gr.Blocks:
    """Build the page: an image in, the answer below."""
    page = gr.Blocks(
        title="sepico_pl", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, UPLOAD_SECONDS)
    )
    with page:
        gr.HTML(HEADER, padding=True)
        file = gr.File(label="Image", file_types=["image"], elem_id="image")
        result = gr.HTML(elem_id="result", apply_default_css=False)
        file.change(partial(answer, sides=sides), file, result, api_visibility="private")
    return page


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """Let SIGINT and SIGTERM set an event, whatever they did before.

    A shell starts what runs in its background with SIGINT ignored, where Ctrl-C and `kill -INT`
    would do nothing; and SIGTERM would leave the uploads behind.
    """
    ended = threading.Event()
    former = {one: signal.signal(one, lambda *_: ended.set()) for one in ENDING_SIGNALS}
    try:
        yield ended
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)


@contextmanager
def served(sides: Sequence[Side], port: int | None, *, open_browser: bool) -> Iterator[gr.Blocks]:
    """Serve the page while the context lasts; what was uploaded goes with it.

    Args:
        sides: the networks, one or two.
        port: None for a free one.
        open_browser: whether to show it at once.

    Raises:
        InputError: if the port is taken.
    """
    with TemporaryDirectory(prefix="sepico_pl_") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads  # read when a page is built
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
                max_file_size=LARGEST_UPLOAD,
                footer_links=[],
                theme=gr.themes.Default(font="system-ui", font_mono="ui-monospace"),
            )
        except OSError as error:
            message = f"port={port} is taken; choose another, or null for a free one"
            raise InputError(message) from error
        try:
            yield page
        finally:
            page.server.config.timeout_graceful_shutdown = SHUTDOWN_SECONDS
            page.close(verbose=False)
