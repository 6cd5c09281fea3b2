"""The map from channels of a network to bodyparts, by which weights are matched by name.

A module whose parameters have an entry for each bodypart has a method `keypoint_axes(points)`: it
returns these parameters, the dimension and the order. It is called twice, with the points of the
network and with those of the file; `dlcexp.models.transfer` does the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# In the place of a bodypart: the centre of the animal, and features shared by all bodyparts.
CENTER = "(center)"
SHARED = "(shared)"


@dataclass(frozen=True)
class Channel:
    """One entry along a dimension.

    Attributes:
        name: what it is about; equal names belong together.
        sign: -1 where its values point the other way, as those of a turned edge.
    """

    name: tuple[str | int, ...]
    sign: int = 1


@dataclass(frozen=True)
class Axis:
    """The entries along one dimension of a parameter.

    Attributes:
        channels: what each entry is.
        reads: they are inputs. What a known output reads of a new input starts at 0.
    """

    channels: Sequence[Channel]
    reads: bool = False


@dataclass(frozen=True)
class Points:
    """The points that a head finds, in the order of its channels.

    Attributes:
        names: of bodyparts, unique bodyparts or individuals.
        edges: pairs of names that a part-affinity field connects, from the first to the second.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()

    def channels(self, each: int = 1) -> list[Channel]:
        """Return channels of `each` maps per point, those of a point side by side."""
        return [Channel((name, i)) for name in self.names for i in range(each)]

    def fields(self) -> list[Channel]:
        """Return channels of the part-affinity fields: x and y of each edge."""
        turned = {True: 1, False: -1}
        return [
            Channel((*sorted(edge), axis), turned[tuple(sorted(edge)) == edge])
            for edge in self.edges
            for axis in range(2)
        ]


@dataclass(frozen=True)
class KeypointAxes:
    """The result of `keypoint_axes` of a module; all names are relative to the module.

    Attributes:
        dims: parameter or buffer, dimension: its entries.
        lists: a list of modules of which each belongs to one channel.
    """

    dims: Mapping[str, Mapping[int, Axis]] = field(default_factory=dict)
    lists: Mapping[str, Sequence[Channel]] = field(default_factory=dict)


def outputs(layer: str, channels: Sequence[Channel], dim: int = 0) -> dict[str, dict[int, Axis]]:
    """Return the axes of a layer whose outputs are channels; `dim` is 1 if it is transposed."""
    return {f"{layer}.weight": {dim: Axis(channels)}, f"{layer}.bias": {0: Axis(channels)}}


def norm_outputs(layer: str, channels: Sequence[Channel]) -> dict[str, dict[int, Axis]]:
    """Return the axes of a batch norm over channels."""
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{layer}.{name}": {0: Axis(channels)} for name in names}
