"""Compare runs over seeds: `python -m sepico_pl.compare outputs/multirun/<time>`."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from sepico_pl.cli import command
from sepico_pl.quoting import quoted_value
from sepico_pl.resuming import key_of, value_of
from sepico_pl.typed_paths import paths

# Options of Hydra's that the next word belongs to.
VALUED = {"--cfg", "-c", "--package", "-p", "--config-dir", "-cd"}


def with_folders(words: Sequence[str]) -> list[str]:
    """Return what was typed for Hydra: folders become a list, the baseline's name is quoted."""
    folders = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in VALUED and not word.startswith("-") and _is_folder(word)
    ]
    others = [word for word in words if word not in folders and key_of(word) != "baseline"]
    if folders:
        others.append(f"folders=[{','.join(map(quoted_value, folders))}]")
    others = paths("output")(others)
    baseline = value_of(words, "baseline")
    return others if baseline is None else [*others, f"baseline={quoted_value(baseline)}"]


def _is_folder(word: str) -> bool:
    return "=" not in word or Path(word).expanduser().is_dir()


@command("compare", with_folders)
def main(config: DictConfig) -> None:
    """Print and write means and deviations over seeds, and a paired test."""
    from sepico_pl.reporting.comparing import compare

    compare(list(config.folders), config.baseline, config.output)


if __name__ == "__main__":
    main()
