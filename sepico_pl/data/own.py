"""One's own pair of folders as a source and a target domain."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sepico_pl.data.checks import Pair
from sepico_pl.data.datasets import ImageFolder, SegmentationFolder, listed
from sepico_pl.data.labels import UNKNOWN, ColourLabels, IdLabels, LabelCode
from sepico_pl.data.listing import all_by_stem, all_images
from sepico_pl.types import IGNORE_INDEX, ClassSet, Colour, DomainPair, InputError

FORMS = ("ids", "colours")


def folder(
    source_images: str,
    source_labels: str,
    target_images: str,
    classes: Sequence[str],
    labels: str = "ids",
    colours: Sequence[Sequence[int]] | None = None,
    ids: Mapping[int, str] | None = None,
    ignore: Sequence[Any] = (),
    unlisted: str = "error",
    source_val_images: str | None = None,
    source_val_labels: str | None = None,
    target_val_images: str | None = None,
    target_val_labels: str | None = None,
) -> DomainPair:
    """Pair the images of a folder with the labels of another by their stems.

    Folders are read with all folders below them; a stem is the path from there without suffix.

    Args:
        source_images: folder of source images, of any sizes.
        source_labels: folder with a PNG of the same stem and size for each.
        target_images: folder of unlabelled target images.
        classes: names, at least two.
        labels: "ids" or "colours": what a label pixel holds.
        colours: RGB (0..255) of each class; needed for colour labels, otherwise only for pictures.
        ids: class name by id (0..255), for id labels; None where ids are the places in
            `classes`.
        ignore: ids, or colours, of pixels to ignore; id 255 is unless `ids` names it.
        unlisted: "error" or "ignore": what becomes of any other id or colour.
        source_val_images: labelled source images to evaluate on, and
        source_val_labels: their labels; None for none.
        target_val_images: labelled target images to evaluate on, and
        target_val_labels: their labels; None for none.

    Raises:
        InputError: for classes, colours or ids that contradict each other.
    """
    _check_names(classes)
    palette = _palette(classes, colours)
    code = _label_code(
        classes, labels, palette if colours is not None else None, ids, ignore, unlisted
    )

    parts = (source_images, source_labels, target_images, source_val_images, source_val_labels)
    named = [Path(one) for one in (*parts, target_val_images, target_val_labels) if one is not None]

    def labelled(
        images: str | None, label_folder: str | None, key: str
    ) -> SegmentationFolder | None:
        if images is None and label_folder is None:
            return None
        if images is None or label_folder is None:
            message = f"dataset.{key}_images and dataset.{key}_labels go together; give both"
            raise InputError(message)
        find = partial(pairs_by_stem, Path(images), Path(label_folder), named)
        return SegmentationFolder(find, code, len(classes))

    source = labelled(source_images, source_labels, "source")
    assert source is not None
    return DomainPair(
        classes=ClassSet(tuple(classes), palette),
        source_train=source,
        target_train=ImageFolder(partial(all_images, Path(target_images), named)),
        source_val=labelled(source_val_images, source_val_labels, "source_val"),
        target_val=labelled(target_val_images, target_val_labels, "target_val"),
    )


def pairs_by_stem(images: Path, labels: Path, others: Collection[Path]) -> list[Pair]:
    """Pair each image with the label of its path below the folder, without suffix.

    The label may turn out to be missing; labels without an image are left out, and counted.
    Folders below, which are among `others`, are not read.

    Raises:
        InputError: for a folder that cannot be listed, or two files of one stem.
    """
    found, label_files = all_by_stem(images, others), all_by_stem(labels, others)
    unused = [path for stem, path in label_files.items() if stem not in found]
    if unused:
        print(f"{len(unused)} labels left out, without an image in {images}: {listed(unused)}")
    return [(image, label_files.get(stem, labels / f"{stem}.png")) for stem, image in found.items()]


def _label_code(
    classes: Sequence[str],
    labels: str,
    palette: tuple[Colour, ...] | None,
    ids: Mapping[int, str] | None,
    ignore: Sequence[Any],
    unlisted: str,
) -> LabelCode:
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


def _check_names(classes: Sequence[object]) -> None:
    for name in classes:
        _check_name(name, "dataset.classes")
    if not 2 <= len(classes) < UNKNOWN or len(set(classes)) < len(classes):
        message = f"dataset.classes={list(classes)}: give 2 to {UNKNOWN - 1} different names"
        raise InputError(message)


def _check_name(name: object, key: str) -> None:
    """Refuse what YAML or the command line took for something else than text.

    `001`, `1e3`, `true` and `null` cannot be told any more as they were typed.
    """
    if not isinstance(name, str):
        message = (
            f"{key}: {name} was read as {type(name).__name__}, not as the text that was typed; "
            f"quote it in YAML, and on the command line as '{key}=[\"...\"]'"
        )
        raise InputError(message)
    if not name.strip():
        message = f"{key}: a name is empty; give each class a name"
        raise InputError(message)


def _ids(classes: Sequence[str], ids: Mapping[int, str] | None) -> dict[int, int]:
    if ids is None:
        return {index: index for index in range(len(classes))}
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


def _palette(classes: Sequence[str], colours: Sequence[Sequence[int]] | None) -> tuple[Colour, ...]:
    """Return the given colours, or well-spread ones."""
    if colours is None:
        return tuple(
            ((37 * index + 60) % 256, (91 * index + 120) % 256, (173 * index + 40) % 256)
            for index in range(len(classes))
        )
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
