"""What `prepare` does: check a data set whole, report, and write a resized copy."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from omegaconf import DictConfig
from rich.table import Table

from sepico_pl.assembly import Config, build, ledger_of, plain_config
from sepico_pl.data.benchmark import Benchmark
from sepico_pl.data.copying import Job, copy_all
from sepico_pl.data.datasets import ImageFolder, ReferencedFolder, SegmentationFolder
from sepico_pl.data.inspection import Report, inspect
from sepico_pl.data.ledger import Ledger
from sepico_pl.quoting import printable
from sepico_pl.tables import plain_console, write_json
from sepico_pl.types import DomainPair, InputError, Size

Collection = ImageFolder | SegmentationFolder
SHOWN = 20


@dataclass(frozen=True)
class Part:
    """One collection of a data set: what it is called, and what a copy of it needs.

    Attributes:
        name: such as "source train (gta)".
        collection: its files; a problem where it cannot even be named.
        published: number of items, as published.
        benchmark: it belongs to.
        box: training images are resized into it in a copy; None copies them as they are.
    """

    name: str
    collection: Collection
    published: int | None = None
    benchmark: Benchmark | None = None
    box: Size | None = None


def prepare(config: DictConfig) -> int:
    """Check the data set, print and write the report, and copy it if asked to.

    Returns:
        The number of problems.
    """
    plain = plain_config(config)
    pair = cast(DomainPair, build("dataset", plain["dataset"]))
    parts = list(parts_of(plain, pair))
    if not parts:
        message = "this data set is generated: it has no files to prepare"
        raise InputError(message)
    ledger = ledger_of(plain)
    reports = [
        inspect(part.name, part.collection, pair.classes.names, ledger, part.published)
        for part in parts
    ]
    problems = sum(len(report.problems) for report in reports)
    show(reports)
    output = Path(plain["report"]).expanduser()
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {"problems": problems, "parts": [report.plain() for report in reports]}
    write_json(output, content)
    remarks = sum(len(report.remarks) for report in reports)
    print(f"{problems} problems, {remarks} remarks; written: {output}")
    if plain["copy"] is not None:
        if problems:
            message = f"{problems} problems: nothing was copied; mend them first"
            raise InputError(message)
        destination = Path(plain["copy"]).expanduser()
        copy(parts, destination, ledger, plain["processes"] or os.cpu_count() or 1)
    return problems


def parts_of(plain: Config, pair: DomainPair) -> Iterator[Part]:
    """Name every collection of files that a data set has."""
    dataset, data = plain["dataset"], plain["data"]
    if "source" in dataset and "target" in dataset:
        source = build("dataset", dataset["source"])
        target = cast(Benchmark, build("dataset", dataset["target"]))
        if isinstance(source, Benchmark):  # generated sources have no files
            yield from _benchmark_parts("source", source, data["source_size"], labelled=True)
        yield from _benchmark_parts("target", target, data["target_size"], labelled=False)
        return
    for name, collection in (
        ("source train", pair.source_train),
        ("target train", pair.target_train),
        ("source val", pair.source_val),
        ("target val", pair.target_val),
    ):
        if isinstance(collection, ImageFolder | SegmentationFolder):
            yield Part(name, collection)


def _benchmark_parts(
    domain: str, benchmark: Benchmark, box: Size, *, labelled: bool
) -> Iterator[Part]:
    train = (benchmark.labelled if labelled else benchmark.images)(benchmark.train)
    title = f"{domain} {{}} ({benchmark.name})"
    published = benchmark.published
    copied = benchmark if published else None  # one's own photographs have no known layout
    yield Part(title.format("train"), train, published.get(benchmark.train), copied, box)
    if benchmark.val:
        val = benchmark.labelled(benchmark.val)
        yield Part(title.format("val"), val, published.get(benchmark.val), copied)


def show(reports: list[Report]) -> None:
    """Print what was found: a line for each part, the histogram of classes, then every finding."""
    table = Table("part", "items", "published", "sizes (height x width)", "problems", "remarks")
    for report in reports:
        sizes = sorted(report.sizes.items(), key=lambda entry: -entry[1])
        shown = ", ".join(f"{size} ({count})" for size, count in sizes[:3])
        table.add_row(
            report.part,
            str(report.files),
            "-" if report.published is None else str(report.published),
            shown + (f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""),
            str(len(report.problems)),
            str(len(report.remarks)),
        )
    console = plain_console(130)
    console.print(table)
    labelled = [report for report in reports if any(report.pixels.values())]
    if labelled:
        histogram = Table("class", *(report.part for report in labelled))
        for name in labelled[0].pixels:
            cells = (report.pixels[name] / sum(report.pixels.values()) for report in labelled)
            histogram.add_row(printable(name), *(f"{100 * share:.2f} %" for share in cells))
        console.print(histogram)
    for report in reports:
        for kind, found in (("problem", report.problems), ("remark", report.remarks)):
            for line in found[:SHOWN]:
                print(f"{kind}: {printable(line)}")
            if len(found) > SHOWN:
                print(f"{kind}: and {len(found) - SHOWN} more in {report.part}")


def copy(parts: list[Part], destination: Path, ledger: Ledger, processes: int) -> None:
    """Write the resized copy; say how to use it.

    Raises:
        InputError: for a data set that is no benchmark, or a file that cannot be copied.
    """
    if any(part.benchmark is None for part in parts):
        message = "copy: only benchmarks can be copied; resize your own images once yourself"
        raise InputError(message)
    roots = {}
    for part in parts:
        assert part.benchmark is not None
        root = destination / part.benchmark.name
        if root.resolve() == part.benchmark.root.resolve():
            message = f"copy={destination} is where {part.benchmark.name} lies; choose another one"
            raise InputError(message)
        roots[part.benchmark.name] = root
        part.collection.check(ledger)  # leaves out what training would leave out
        jobs = list(_jobs(part, root))
        written = copy_all(jobs, part.box or (1, 1), processes)
        print(f"{part.name}: {written} files written, {len(jobs) - written} were there")
    overrides = " ".join(f"paths.{name}={root}" for name, root in roots.items())
    print(f"use the copy with: {overrides}")


def _jobs(part: Part, root: Path) -> Iterator[Job]:
    assert part.benchmark is not None
    origin = part.benchmark.root
    train = part.box is not None
    if isinstance(part.collection, SegmentationFolder):
        pairs = part.collection.pairs
        kinds = ("image", "label") if train else ("file", "file")
    else:
        pairs, kinds = part.collection.items(), ("image", "image")  # type: ignore[assignment]
        if isinstance(part.collection, ReferencedFolder):
            for file in sorted((origin / "corresp").rglob("*.csv")):
                yield Job(file, root / file.relative_to(origin), "file")
    done = set()
    for paths in pairs:
        for path, kind in zip(paths, kinds, strict=False):
            if path not in done:
                done.add(path)
                yield Job(path, root / path.relative_to(origin), kind)
