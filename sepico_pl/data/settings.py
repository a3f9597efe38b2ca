"""What the numbers of a data module may be."""

from sepico_pl.types import InputError, Size


def check_sizes(**sizes: Size) -> None:
    """Refuse what is not a height and a width.

    Raises:
        InputError: naming the key.
    """
    for key, size in sizes.items():
        if len(size) != 2 or any(not isinstance(side, int) or side <= 0 for side in size):
            message = f"data.{key}={list(size)} must be two positive integers: [height, width]"
            raise InputError(message)


def check_counts(**counts: int) -> None:
    """Refuse what is not a positive integer.

    Raises:
        InputError: naming the key.
    """
    for key, count in counts.items():
        if not isinstance(count, int) or count <= 0:
            message = f"data.{key}={count} must be a positive integer"
            raise InputError(message)


def check_workers(workers: int) -> None:
    """Refuse what is no number of loader processes.

    Raises:
        InputError: naming the key.
    """
    if not isinstance(workers, int) or workers < 0:
        message = f"data.workers={workers} must be an integer >= 0; 0 loads in the training process"
        raise InputError(message)
