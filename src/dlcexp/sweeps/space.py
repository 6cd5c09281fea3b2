"""What a sweep varies: values in Hydra's sweep syntax, crossed, paired or drawn.

optimizer=adamw,sgd  batch_size=choice(4,8)  split.fold=range(5)  model/backbone=glob(hrnet*)
optimizer.lr=tag(log,interval(1e-5,1e-2))  epochs=int(interval(10,50))
"""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dlcexp.config.options import options
from dlcexp.config.overrides import one_at_a_time
from dlcexp.errors import ConfigError

# What one dimension of a space contributes to a job, `optimizer.lr=0.001`.
Word = str


@dataclass(frozen=True)
class Choices:
    """A key with a list of values, as they stand in an override."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True)
class Interval:
    """A key with all numbers from `low` to `high`, both included.

    Attributes:
        key: the key.
        low, high: its limits.
        log: drawn evenly in the logarithm.
        integer: whole numbers only.
    """

    key: str
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
            ConfigError: a word without `=`.
        """
        allowed = {}
        for word in text.split():
            key, equals, values = word.partition("=")
            if not equals:
                raise ConfigError(
                    "hydra.sweeper.where", f"{text!r} is no condition; write optimizer=sgd."
                )
            allowed[key] = tuple(values.split(","))
        return cls(allowed)

    def holds(self, words: Iterable[Word]) -> bool:
        """Whether it is so in a job, of which the last word on a key counts."""
        chosen = dict(word.partition("=")[::2] for word in words)
        return all(chosen.get(key) in values for key, values in self.allowed.items())


@dataclass(frozen=True)
class Space:
    """What varies, and what stays the same.

    Attributes:
        fixed: words that every job has.
        dimensions: what varies in every job, in the order of the command line.
        where: what varies only where choices of the job ask for it.
        variants: words that go together; each job of a grid is run with each of these.
    """

    fixed: tuple[Word, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    where: tuple[tuple[Condition, tuple[Dimension, ...]], ...] = field(default_factory=tuple)
    variants: tuple[tuple[Word, ...], ...] = ((),)

    @property
    def swept(self) -> list[str]:
        """The keys that vary, in order."""
        further = (dimension for _, group in self.where for dimension in group)
        varied = [_key(word) for words in self.variants for word in words]
        return list(dict.fromkeys([*(each.key for each in (*self.dimensions, *further)), *varied]))

    def following(self, words: Sequence[Word]) -> list[Dimension]:
        """The dimensions that the choices of a job add."""
        chosen = [*self.fixed, *words]
        return [
            each for condition, group in self.where if condition.holds(chosen) for each in group
        ]

    def representative(self) -> list[Word]:
        """One job of the space, the first: enough to compose and check what all have in common."""
        words = [_first(each) for each in self.dimensions]
        return [*self.fixed, *words, *map(_first, self.following(words))]


def parse_space(
    words: Sequence[Word],
    params: Mapping[str, Any],
    where: Mapping[str, Mapping[str, Any]] | None = None,
    variants: Sequence[str | None] = (),
) -> Space:
    """The space of a sweep.

    Args:
        words: overrides of the command line; they win over `params`.
        params: key to values, as `hydra.sweeper.params` of a file has them.
        where: condition to such params, `hydra.sweeper.where`.
        variants: words with spaces between them, `hydra.sweeper.variants`; None: none.

    Raises:
        ConfigError: a value that cannot be read, a key without values.
    """
    given = {_key(word) for word in words}
    lines = [f"{key}={_text(value)}" for key, value in params.items() if key not in given]
    fixed: list[Word] = []
    dimensions: list[Dimension] = []
    for line in _last_words([*lines, *words]):
        dimension = parse_dimension(line)
        if dimension is None:
            fixed.append(line)
        else:
            dimensions.append(dimension)
    further = []
    for text, group in (where or {}).items():
        lines = [f"{key}={_text(value)}" for key, value in group.items() if key not in given]
        found = [parse_dimension(line) or Choices(*_single(line)) for line in lines]
        further.append((Condition.parse(text), tuple(found)))
    groups = tuple(tuple((text or "").split()) for text in variants) or ((),)
    return Space(tuple(fixed), tuple(dimensions), tuple(further), groups)


def _last_words(words: Iterable[Word]) -> list[Word]:
    """Of several words on a key the last, at its place."""
    last: dict[str, Word] = {}
    for word in words:
        last.pop(_key(word), None)
        last[_key(word)] = word
    return list(last.values())


def parse_dimension(word: Word) -> Dimension | None:
    """What a word varies; None where it has one value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(word)
        if not override.is_sweep_override():
            return None
        key, value = override.get_key_element(), override._value
        if isinstance(value, IntervalSweep):
            return _interval(key, value)
        if isinstance(value, RangeSweep) and not value.shuffle:
            return _choices(key, _steps(value))
        if isinstance(value, Glob):
            return _choices(key, value.filter(options(override.key_or_group)))
        return _choices(key, list(override.sweep_string_iterator()))
    except HydraException as error:
        first = str(error).splitlines()[0]
        raise ConfigError("", f"cannot read the override {word!r} ({first}).") from error


def grid(space: Space) -> Iterator[list[Word]]:
    """Every value with every other, the last key fastest.

    Raises:
        ConfigError: an interval has no end of values.
    """
    for words in itertools.product(*(_words(each, "grid") for each in space.dimensions)):
        further = [_words(each, "grid") for each in space.following(words)]
        for more in itertools.product(*further):
            for variant in space.variants:
                yield [*space.fixed, *words, *more, *variant]


def paired(space: Space) -> Iterator[list[Word]]:
    """The first values of all keys together, then the second, and so on.

    Raises:
        ConfigError: lists of different lengths.
    """
    columns = [_words(each, "paired") for each in space.dimensions]
    lengths = {
        each.key: len(column) for each, column in zip(space.dimensions, columns, strict=True)
    }
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ConfigError("hydra.sweeper", f"paired values go side by side, but {told}.")
    for words in zip(*columns, strict=True):
        further = [_words(each, "paired") for each in space.following(words)]
        for more in itertools.product(*further):
            yield [*space.fixed, *words, *more]


def drawn(space: Space, count: int, seed: int) -> Iterator[list[Word]]:
    """Random jobs, the same for the same seed, none of them twice."""
    generator = random.Random(seed)
    seen: set[tuple[Word, ...]] = set()
    misses = 0
    while len(seen) < count and misses < _MISSES:
        words = [_draw(each, generator) for each in space.dimensions]
        words += [_draw(each, generator) for each in space.following(words)]
        if tuple(words) in seen:
            misses += 1
            continue
        misses = 0
        seen.add(tuple(words))
        yield [*space.fixed, *words]


def samples(space: Space) -> list[list[Word]]:
    """The first job, and one more for each further value: each is so in one of them."""
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


def _further(dimension: Dimension) -> list[Word]:
    if isinstance(dimension, Interval):
        return [f"{dimension.key}={_number(dimension, dimension.high)}"]
    return [f"{dimension.key}={value}" for value in dimension.values[1:]]


def _number(interval: Interval, value: float) -> float:
    return int(value) if interval.integer else value


# Draws in a row that brought nothing new: the space has no more.
_MISSES = 1000


def _draw(dimension: Dimension, generator: random.Random) -> Word:
    if isinstance(dimension, Choices):
        return f"{dimension.key}={generator.choice(dimension.values)}"
    low, high = dimension.low, dimension.high
    if dimension.log:
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        value = generator.uniform(low, high)
    if dimension.integer:
        value = round(value) if dimension.log else generator.randint(round(low), round(high))
    return f"{dimension.key}={min(max(value, low), high)!r}"


def _endless(interval: Interval, place: str, other: str) -> ConfigError:
    return ConfigError(
        interval.key,
        f"an interval has no end of values for {place}; list some, or take {other}.",
    )


def _words(dimension: Dimension, sweeper: str) -> list[Word]:
    if isinstance(dimension, Interval):
        other = "hydra/sweeper=optuna or hydra/sweeper=random"
        raise _endless(dimension, f"hydra/sweeper={sweeper}", other)
    return [f"{dimension.key}={value}" for value in dimension.values]


def _first(dimension: Dimension) -> Word:
    if isinstance(dimension, Choices):
        return f"{dimension.key}={dimension.values[0]}"
    return f"{dimension.key}={_number(dimension, dimension.low)}"


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


def _steps(sweep: Any) -> list[str]:
    """The values of a range, in decimals: range(0.1,0.4,0.1) has 0.3, not 0.30000000000000004."""
    start, stop, step = (Decimal(str(each)) for each in (sweep.start, sweep.stop, sweep.step))
    count = math.ceil((stop - start) / step) if step else 0
    return [str(start + number * step) for number in range(count)]


def _choices(key: str, values: Sequence[str]) -> Choices:
    if not values:
        raise ConfigError(key, "no values to sweep over.")
    return Choices(key, tuple(dict.fromkeys(values)))


def _key(word: Word) -> str:
    return word.lstrip("+~").partition("=")[0]


def _single(line: Word) -> tuple[str, tuple[str, ...]]:
    key, _, value = line.partition("=")
    return key, (value,)


def _text(value: Any) -> str:
    """A value of a YAML file as it would stand on the command line."""
    from hydra.core.override_parser.types import Override

    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    return Override._get_value_element_as_str(value)
