"""What is typed about labels of one's own: refused where it contradicts itself, else a code."""

from collections.abc import Mapping, Sequence
from typing import Any

from sepico_pl.data.labels import UNKNOWN, ColourLabels, IdLabels, LabelCode
from sepico_pl.types import IGNORE_INDEX, Colour, InputError

FORMS = ("ids", "colours")


def check_lists(**lists: object) -> None:
    """Refuse a text, a map or a number where a list is asked for.

    Raises:
        InputError: naming the key.
    """
    for key, value in lists.items():
        if not isinstance(value, list | tuple):
            message = f"dataset.{key}={value} is no list; write it as [{value}]"
            raise InputError(message)


def label_code(
    classes: Sequence[str],
    labels: str,
    palette: tuple[Colour, ...] | None,
    ids: Mapping[int, str] | None,
    ignore: Sequence[Any],
    unlisted: str,
) -> LabelCode:
    """Return what reads labels by the keys of `own.folder`.

    Raises:
        InputError: for keys that contradict each other.
    """
    if labels not in FORMS:
        message = f"dataset.labels={labels} is unknown; choose ids or colours"
        raise InputError(message)
    if unlisted not in ("error", "ignore"):
        message = f"dataset.unlisted={unlisted} is unknown; choose error or ignore"
        raise InputError(message)
    if labels == "colours":
        return _colour_labels(classes, palette, ids, ignore, unlisted)
    by_id = _ids(classes, ids)
    ignored = [_whole(one, "dataset.ignore") for one in ignore]
    for one in ignored:
        if one in by_id:
            place = "dataset.ids" if ids is not None else "its place in dataset.classes"
            raise _contradiction(one, classes[by_id[one]], place)
    table = dict.fromkeys(range(UNKNOWN + 1), IGNORE_INDEX) if unlisted == "ignore" else {}
    return IdLabels(table | dict.fromkeys(ignored, IGNORE_INDEX) | by_id)


def _colour_labels(
    classes: Sequence[str],
    palette: tuple[Colour, ...] | None,
    ids: Mapping[int, str] | None,
    ignore: Sequence[Any],
    unlisted: str,
) -> ColourLabels:
    if palette is None:
        message = "dataset.labels=colours needs dataset.colours, one [r,g,b] per class"
        raise InputError(message)
    if ids is not None:
        message = "dataset.ids: colour labels hold no ids; leave it out, or set dataset.labels=ids"
        raise InputError(message)
    ignored = [_colour(one, "dataset.ignore") for one in ignore]
    for one in ignored:
        if one in palette:
            raise _contradiction(list(one), classes[palette.index(one)], "dataset.colours")
    return ColourLabels(palette, ignored, unlisted)


def _contradiction(value: object, name: str, key: str) -> InputError:
    return InputError(
        f"dataset.ignore: {value} is to be ignored and also stands for the class {name} ({key}); "
        "take it out of one of the two"
    )


def check_names(classes: Sequence[object]) -> None:
    """Compare the names of classes.

    Raises:
        InputError: for what is no text, or not 2 to 253 different names.
    """
    for name in classes:
        _check_name(name, "dataset.classes")
    if not 2 <= len(classes) < UNKNOWN or len(set(classes)) < len(classes):
        message = f"dataset.classes={list(classes)}: give 2 to {UNKNOWN - 1} different names"
        raise InputError(message)


READ_AS = {int: "a number", float: "a number", bool: "true or false", type(None): "nothing"}


def _check_name(name: object, key: str) -> None:
    """Refuse what YAML or the command line took for something else than text.

    `001`, `1e3`, `true` and `null` cannot be told any more as they were typed.
    """
    if not isinstance(name, str):
        read_as = READ_AS.get(type(name), "no text")
        message = (
            f"{key}: {name} was read as {read_as}, not as the text that was typed; quote it: in "
            f'YAML "{name}", on the command line \'{key}=["{name}", ...]\''
        )
        raise InputError(message)
    if not name.strip():
        message = f"{key}: a name is empty; give each class a name"
        raise InputError(message)


def _ids(classes: Sequence[str], ids: Mapping[int, str] | None) -> dict[int, int]:
    if ids is None:
        return {index: index for index in range(len(classes))}
    if not isinstance(ids, Mapping):
        message = f"dataset.ids={ids} is no map; write it as {{7: {classes[0]}}}"
        raise InputError(message)
    found: dict[int, int] = {}
    for one, name in ids.items():
        _check_name(name, "dataset.ids")
        if name not in classes:
            message = f"dataset.ids: {name} is none of dataset.classes={list(classes)}"
            raise InputError(message)
        number = _whole(one, "dataset.ids")
        if number in found:
            message = f"dataset.ids: {number} is given twice; give each id once"
            raise InputError(message)
        found[number] = classes.index(name)
    return found


def palette_of(
    classes: Sequence[str], colours: Sequence[Sequence[int]] | None
) -> tuple[Colour, ...]:
    """Return the given colours, or well-spread ones.

    Raises:
        InputError: for what is no colour, or not one for each class.
    """
    if colours is None:
        return tuple(
            ((37 * index + 60) % 256, (91 * index + 120) % 256, (173 * index + 40) % 256)
            for index in range(len(classes))
        )
    check_lists(colours=colours)
    palette = tuple(_colour(one, "dataset.colours") for one in colours)
    if len(palette) != len(classes) or len(set(palette)) < len(palette):
        message = (
            f"dataset.colours: {len(set(palette))} different colours for {len(classes)} classes; "
            "give one [r,g,b] per class, in the order of dataset.classes"
        )
        raise InputError(message)
    return palette


def _colour(value: object, key: str) -> Colour:
    if not isinstance(value, list | tuple) or len(value) != 3:
        message = f"{key}: {value} is no colour; a colour is [r,g,b], each 0 to 255"
        raise InputError(message)
    red, green, blue = (_whole(one, key) for one in value)
    return red, green, blue


def _whole(value: object, key: str) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= IGNORE_INDEX:
        message = f"{key}: {value} must be a whole number from 0 to 255"
        raise InputError(message)
    return number
