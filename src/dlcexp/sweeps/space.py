"""The values that a sweep varies, in Hydra's sweep syntax: crossed, paired or drawn.

optimizer=adamw,sgd  batch_size=choice(4,8)  split.fold=range(5)  model/backbone=glob(hrnet*)
optimizer.lr=tag(log,interval(1e-5,1e-2))  epochs=int(interval(10,50))
"""

import itertools
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlcexp.config.options import options
from dlcexp.config.overrides import Override, literal, one_at_a_time, parse_overrides
from dlcexp.config.typed import in_grammar, read_typed
from dlcexp.errors import ConfigError


@dataclass(frozen=True)
class _Varying:
    """A key that varies.

    Attributes:
        key: as in an override, with its prefix and package.
    """

    key: str

    @property
    def name(self) -> str:
        """The key without a prefix."""
        return Override.with_text(self.key).name

    def override(self, value: object) -> Override:
        """Return what the dimension contributes to a job: `optimizer.lr=0.001`."""
        return Override.parse(f"{self.key}={value}")


@dataclass(frozen=True)
class Choices(_Varying):
    """A key with a list of values, as they are in an override."""

    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True)
class Interval(_Varying):
    """A key with all numbers from `low` to `high`, both included.

    Attributes:
        low, high: its limits.
        log: drawn evenly in the logarithm.
        integer: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __str__(self) -> str:
        return f"{self.key}=from {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


Dimension = Choices | Interval


@dataclass(frozen=True)
class Condition:
    """Choices under which further dimensions exist: each key must have one of its values."""

    allowed: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Read `optimizer=sgd,rmsprop scheduler=none`: all of these hold.

        Raises:
            ConfigError: a part that is not an override.
        """
        try:
            return cls({each.name: tuple(each.values()) for each in parse_overrides(text.split())})
        except ConfigError:
            raise ConfigError(
                "hydra.sweeper.where", f"{text!r} is not a condition; write optimizer=sgd."
            ) from None

    def holds(self, overrides: Iterable[Override]) -> bool:
        """Return True if it holds in a job, of which the last override of a key counts."""
        chosen = {each.name: each for each in overrides}
        return all(
            name in chosen
            and any(chosen[name].with_value(value).value == chosen[name].value for value in values)
            for name, values in self.allowed.items()
        )


@dataclass(frozen=True)
class Space:
    """The dimensions of a sweep, and what stays the same.

    Attributes:
        fixed: overrides that every job has.
        dimensions: what varies in every job, in the order of the command line.
        where: what varies only where choices of the job ask for it.
        variants: overrides that go together; each job of a grid is run with each of these.
    """

    fixed: tuple[Override, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    where: tuple[tuple[Condition, tuple[Dimension, ...]], ...] = field(default_factory=tuple)
    variants: tuple[tuple[Override, ...], ...] = ((),)

    @property
    def swept(self) -> list[str]:
        """The keys that vary, in order."""
        further = (dimension for _, group in self.where for dimension in group)
        varied = [override.name for variant in self.variants for override in variant]
        return list(dict.fromkeys([*(each.name for each in (*self.dimensions, *further)), *varied]))

    def following(self, overrides: Sequence[Override]) -> list[Dimension]:
        """Return the dimensions that the choices of a job add."""
        chosen = [*self.fixed, *overrides]
        return [
            each for condition, group in self.where if condition.holds(chosen) for each in group
        ]

    def representative(self) -> list[Override]:
        """Return one job, the first: enough to compose and check what all have in common."""
        overrides = [_first(each) for each in self.dimensions]
        return [*self.fixed, *overrides, *map(_first, self.following(overrides))]


def parse_space(
    overrides: Sequence[Override],
    params: Mapping[str, Any],
    where: Mapping[str, Mapping[str, Any]] | None = None,
    variants: Sequence[str | None] = (),
) -> Space:
    """Return the space of a sweep.

    Args:
        overrides: those of the command line; they win over `params`.
        params: key to values, as `hydra.sweeper.params` of a file has them.
        where: condition to such params, `hydra.sweeper.where`.
        variants: overrides with spaces between them, `hydra.sweeper.variants`; None: none.

    Raises:
        ConfigError: a value that cannot be read, a key without values.
    """
    given = {override.name for override in overrides}
    fixed: list[Override] = []
    dimensions: list[Dimension] = []
    for override in _last_of_each([*_of_file(params, given), *overrides]):
        dimension = dimension_of(override)
        if dimension is None:
            fixed.append(override)
        else:
            dimensions.append(dimension)
    further = []
    for text, group in (where or {}).items():
        found = [
            dimension_of(each) or Choices(each.left_side, (each.value_text,))
            for each in _of_file(group, given)
        ]
        further.append((Condition.parse(text), tuple(found)))
    together = tuple(tuple(read_typed((text or "").split())) for text in variants)
    return Space(tuple(fixed), tuple(dimensions), tuple(further), together or ((),))


def _of_file(params: Mapping[str, Any], given: Collection[str]) -> list[Override]:
    """Return params of a YAML file as overrides, without those of keys that are given."""
    return [
        Override.parse(
            in_grammar(f"{key}={value}", sweep=True)
            if isinstance(value, str)
            else f"{key}={literal(value)}"
        )
        for key, value in params.items()
        if key not in given
    ]


def _last_of_each(overrides: Iterable[Override]) -> list[Override]:
    """Return the last of several overrides of a key, at its place."""
    last: dict[str, Override] = {}
    for override in overrides:
        last.pop(override.name, None)
        last[override.name] = override
    return list(last.values())


def dimension_of(override: Override) -> Dimension | None:
    """Return what an override varies; None where it has one value."""
    from hydra.core.override_parser.types import Glob, IntervalSweep

    if not override.is_sweep:
        return None
    key, sweep = override.left_side, override.value
    if isinstance(sweep, IntervalSweep):
        return _interval(key, sweep)
    glob = isinstance(sweep, Glob)
    values = sweep.filter(options(override.key)) if glob else override.values()
    if not values:
        raise ConfigError(key, "no values to sweep over.")
    return Choices(key, tuple(dict.fromkeys(values)))


def grid(space: Space) -> Iterator[list[Override]]:
    """Yield every value with every other, the last key fastest.

    Raises:
        ConfigError: an interval, whose values are endless.
    """
    for line in itertools.product(*(_values(each, "grid") for each in space.dimensions)):
        further = [_values(each, "grid") for each in space.following(line)]
        for more in itertools.product(*further):
            for variant in space.variants:
                yield [*space.fixed, *line, *more, *variant]


def paired(space: Space) -> Iterator[list[Override]]:
    """Yield the first values of all keys together, then the second, and so on.

    Raises:
        ConfigError: lists of different lengths.
    """
    columns = [_values(each, "paired") for each in space.dimensions]
    lengths = {
        each.key: len(column) for each, column in zip(space.dimensions, columns, strict=True)
    }
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ConfigError("hydra.sweeper", f"paired values go side by side, but {counts}.")
    for line in zip(*columns, strict=True):
        further = [_values(each, "paired") for each in space.following(line)]
        for more in itertools.product(*further):
            yield [*space.fixed, *line, *more]


def drawn(space: Space, count: int, seed: int) -> Iterator[list[Override]]:
    """Yield random jobs, the same for the same seed, none of them twice."""
    generator = random.Random(seed)
    seen: set[tuple[Override, ...]] = set()
    misses = 0
    while len(seen) < count and misses < _MISSES:
        line = [_draw(each, generator) for each in space.dimensions]
        line += [_draw(each, generator) for each in space.following(line)]
        if tuple(line) in seen:
            misses += 1
            continue
        misses = 0
        seen.add(tuple(line))
        yield [*space.fixed, *line]


def samples(space: Space) -> list[list[Override]]:
    """Return the first job, and one more for each further value: each is in one of them."""
    rows = one_at_a_time([_first(each), *_further(each)] for each in space.dimensions)
    return [[*space.fixed, *row, *map(_first, space.following(row))] for row in rows]


def refuse_intervals(space: Space, sampler: str) -> None:
    """Refuse intervals of real numbers where every value is to be tried.

    Raises:
        ConfigError: there is one.
    """
    further = (each for _, group in space.where for each in group)
    for each in (*space.dimensions, *further):
        if isinstance(each, Interval) and not each.integer:
            raise _endless(each, sampler, "hydra/sweeper/sampler=tpe")


def _first(dimension: Dimension) -> Override:
    if isinstance(dimension, Choices):
        return dimension.override(dimension.values[0])
    return dimension.override(_number(dimension, dimension.low))


def _further(dimension: Dimension) -> list[Override]:
    if isinstance(dimension, Interval):
        return [dimension.override(_number(dimension, dimension.high))]
    return [dimension.override(value) for value in dimension.values[1:]]


def _number(interval: Interval, value: float) -> float:
    return int(value) if interval.integer else value


def _values(dimension: Dimension, sweeper: str) -> list[Override]:
    if isinstance(dimension, Interval):
        other = "hydra/sweeper=optuna or hydra/sweeper=random"
        raise _endless(dimension, f"hydra/sweeper={sweeper}", other)
    return [dimension.override(value) for value in dimension.values]


# Draws in a row that brought nothing new: the space has no more.
_MISSES = 1000


def _draw(dimension: Dimension, generator: random.Random) -> Override:
    if isinstance(dimension, Choices):
        return dimension.override(generator.choice(dimension.values))
    low, high = dimension.low, dimension.high
    if dimension.log:
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        value = generator.uniform(low, high)
    if dimension.integer:
        value = round(value) if dimension.log else generator.randint(round(low), round(high))
    return dimension.override(min(max(value, low), high))


def _endless(interval: Interval, place: str, other: str) -> ConfigError:
    return ConfigError(
        interval.key,
        f"an interval has an endless number of values for {place}; list some, or use {other}.",
    )


def _interval(key: str, sweep: Any) -> Interval:
    low, high = sweep.start, sweep.end
    if low is None or high is None:
        raise ConfigError(key, "an interval needs both ends.")
    whole = "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int))
    unknown = sweep.tags - {"log", "int"}
    if unknown:
        raise ConfigError(key, f"unknown tag {min(unknown)!r}. Allowed: log, int.")
    log = "log" in sweep.tags
    if not low < high:
        raise ConfigError(key, f"the interval from {low} to {high} is empty.")
    if log and low <= 0:
        raise ConfigError(key, f"an interval on a logarithmic scale begins above 0, not at {low}.")
    return Interval(key, low, high, log, whole)
