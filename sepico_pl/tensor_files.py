"""Files of tensors, written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sepico_pl.quoting import first_line
from sepico_pl.tables import written_whole
from sepico_pl.types import InputError


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that `torch.load` reads; it appears whole or not at all.

    Raises:
        InputError: if it cannot be written; what was there before is left as it is.
    """
    try:
        with written_whole(path) as partial, partial.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
        message = (
            f"{path} cannot be written ({reason}); what was written before is whole: free some "
            "space or mend the folder, and go on from there"
        )
        raise InputError(message) from error
