"""What the numbers of a configuration may be, said before anything is built from them."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sepico_pl.types import InputError


class Rule(Protocol):
    """What a value may be; its string says so."""

    def hold(self, value: object) -> bool:
        """Whether a value may be."""
        ...


class Limits(NamedTuple):
    """A range of numbers.

    Attributes:
        low, high: the smallest and the largest.
        whole: whether only integers will do.
        above: whether `low` itself is too small.
        below: whether `high` itself is too large.
        optional: whether null will do too.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    below: bool = False
    optional: bool = False

    def hold(self, value: object) -> bool:
        """Whether a value is within."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        inside = self.low <= value <= self.high and math.isfinite(value)
        at_end = (self.above and value == self.low) or (self.below and value == self.high)
        return inside and not at_end

    def __str__(self) -> str:
        """Say what is within."""
        kind = "an integer" if self.whole else "a number"
        if self.whole and self.low == 1:
            most = f" <= {self.high:.0f}" if math.isfinite(self.high) else ""
            return f"a positive integer{most}" + (" or null" if self.optional else "")
        if self.above:
            return "a positive number" + (" or null" if self.optional else "")
        ends = [f">= {self.low:g}"] if self.low > -math.inf else []
        ends += [f"{'<' if self.below else '<='} {self.high:g}"] if self.high < math.inf else []
        return " ".join([kind, " and ".join(ends)]).strip() + (" or null" if self.optional else "")


class Pair(NamedTuple):
    """Two numbers.

    Attributes:
        each: what each may be.
        order: their names; "smallest, largest" must be in this order.
    """

    each: Limits
    order: str

    def hold(self, value: object) -> bool:
        """Whether a value is such a pair."""
        if not isinstance(value, list) or len(value) != 2 or not all(map(self.each.hold, value)):
            return False
        return self.order != RANGE or value[0] <= value[1]

    def __str__(self) -> str:
        """Say what the pair is of."""
        if self.each == SIDE:
            return f"two positive integers: [{self.order}], each <= {SIDE.high}"
        return f"two numbers >= 0: [{self.order}]"


class Choice(NamedTuple):
    """One of several names."""

    names: tuple[str, ...]

    def hold(self, value: object) -> bool:
        """Whether a value is one of the names."""
        return value in self.names

    def __str__(self) -> str:
        """List the names."""
        return " or ".join(self.names)


class Several(NamedTuple):
    """A list of numbers, one or more."""

    each: Limits

    def hold(self, value: object) -> bool:
        """Whether a value is such a list."""
        return isinstance(value, list) and len(value) > 0 and all(map(self.each.hold, value))

    def __str__(self) -> str:
        """Say what each may be."""
        return f"a list, each {self.each}"


class Kind(NamedTuple):
    """A value of one type.

    Attributes:
        type: of the value.
        name: what people call it.
    """

    type: type
    name: str

    def hold(self, value: object) -> bool:
        """Whether a value is of the type."""
        return isinstance(value, self.type)

    def __str__(self) -> str:
        """Return what people call it."""
        return self.name


class OrNull(NamedTuple):
    """What a rule says, or null."""

    rule: Rule

    def hold(self, value: object) -> bool:
        """Whether a value is null or as the rule says."""
        return value is None or self.rule.hold(value)

    def __str__(self) -> str:
        """Say what the rule says."""
        return f"{self.rule} or null"


RANGE = "smallest, largest"
NATURAL = Limits(low=1, whole=True)
MOST_IMAGES = Limits(low=1, high=10**6, whole=True)
SIDE = Limits(low=1, high=8192, whole=True)
WIDTH = Limits(low=1, high=2048, whole=True)
DEPTH = Limits(low=0, high=1000, whole=True)
COUNT = Limits(low=0, whole=True)
SHARE = Limits(low=0, high=1)
POSITIVE = Limits(low=0, above=True)
SIZE = Pair(SIDE, "height, width")
NORM = Choice(("batch", "group"))
NOT_NEGATIVE = Limits(low=0)
FLAG = Kind(bool, "true or false")
PATH = Kind(str, "a path")
DEVICE_COUNT = Limits(low=1, high=1024, whole=True)
NETWORK = Choice(("student", "teacher"))

ASKING: dict[str, Rule] = {
    "scales": Several(POSITIVE),
    "flip": FLAG,
    "window": OrNull(SIZE),
    "stride": OrNull(SIZE),
    "class_weights_deviation": NOT_NEGATIVE,
}
"""How a network is asked: the keys of conf/protocol.yaml."""

RULES: dict[str, Rule] = {
    "norm": NORM,
    "seed": Limits(low=0, high=2**32 - 1, whole=True),
    "keep.every": NATURAL,
    "keep.last": NATURAL,
    "pictures": Limits(low=0, high=9, whole=True),
    "diagnosis": COUNT,
    "compile": FLAG,
    "recompute": FLAG,
    "strong.jitter_probability": SHARE,
    "strong.jitter_strength": Limits(low=0, high=0.5),
    "strong.blur_probability": SHARE,
    "strong.blur_sigma": Pair(NOT_NEGATIVE, RANGE),
    "ignored_rows.top": COUNT,
    "ignored_rows.bottom": COUNT,
    "ignored_rows.per": NATURAL,
    "vote.day_share": SHARE,
    "vote.confident": SHARE,
    "masking.ratio": Limits(low=0, high=1, below=True),
    "masking.block": Limits(low=1, high=8192, whole=True, optional=True),
    "dataset.size": SIZE,
    "dataset.train_length": MOST_IMAGES,
    "dataset.val_length": MOST_IMAGES,
    "dataset.source.size": SIZE,
    "dataset.source.train_length": MOST_IMAGES,
    "dataset.source.val_length": MOST_IMAGES,
    "data.source_size": SIZE,
    "data.target_size": SIZE,
    "data.crop_size": SIZE,
    "data.crop_tries": Limits(low=1, high=10_000, whole=True),
    "data.largest_share": SHARE,
    "data.rare_class_temperature": Limits(low=0, above=True, optional=True),
    "data.rare_class_pixels": COUNT,
    "data.batch_size": MOST_IMAGES,
    "data.judge_batch_size": MOST_IMAGES,
    "data.statistics_images": MOST_IMAGES,
    "data.workers": Limits(low=0, high=1024, whole=True),
    "backbone.width": Limits(low=1, high=128, whole=True),
    "backbone.stem_width": Limits(low=1, high=128, whole=True),
    "backbone.depth": DEPTH,
    "backbone.drop_path": SHARE,
    "head.decode.width": WIDTH,
    "head.decode.dropout": SHARE,
    "head.projection.width": WIDTH,
    "head.projection.depth": Limits(low=0, high=100, whole=True),
    "contrast.temperature": POSITIVE,
    "contrast.weight": Limits(),
    "contrast.diversity_weight": Limits(),
    "contrast.min_share": Limits(low=0, high=1, optional=True),
    "contrast.length": Limits(low=1, high=100_000, whole=True),
    "adapt.teacher_decay": SHARE,
    "adapt.confidence_threshold": SHARE,
    "adapt.contrast_start": COUNT,
    "adapt.crop.tries": Limits(low=1, high=10_000, whole=True),
    "adapt.crop.largest_share": SHARE,
    "optim.learning_rate": POSITIVE,
    "optim.head_factor": POSITIVE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.warmup_steps": COUNT,
    "optim.warmup_start": SHARE,
    "optim.power": NOT_NEGATIVE,
    "trainer.max_steps": NATURAL,
    "trainer.max_epochs": NATURAL,
    "trainer.num_nodes": NATURAL,
    "trainer.val_check_interval": NATURAL,
    "trainer.log_every_n_steps": NATURAL,
    "trainer.num_sanity_val_steps": COUNT,
}


def check_limits(plain: Mapping[str, object], rules: Mapping[str, Rule] = RULES) -> None:
    """Refuse numbers, pairs and names that no part could work with.

    Args:
        plain: the configuration.
        rules: what its values may be, by dotted key; those of `train` unless others are given.

    Raises:
        InputError: naming the first key, its value and what it may be.
    """
    for key, rule in rules.items():
        for value in _values(plain, key):
            if not rule.hold(value):
                _refuse(key, value, str(rule))


def _values(plain: Mapping[str, object], key: str) -> list[object]:
    """Return the value of a dotted key; nothing where its group is null or has no such key.

    Raises:
        InputError: for a group that is no group.
    """
    node: object = plain
    parts = key.split(".")
    for place, part in enumerate(parts):
        if node is None:
            return []
        if not isinstance(node, Mapping):
            _refuse(".".join(parts[:place]), node, f"a group of keys, {part} among them")
        elif part not in node:
            return []
        else:
            node = node[part]
    return [node]


def _refuse(key: str, value: object, wanted: str) -> None:
    message = f"{key}={value} must be {wanted}"
    raise InputError(message)
