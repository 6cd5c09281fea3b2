"""The order in which samples are seen: shuffled, equal after a resume, shared out to ranks."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, position), so that a data set knows the epoch in whichever process it lives.

    The order depends on (seed, epoch) only. With several ranks each gets every world_size-th
    sample; the order is repeated from its start until all ranks have equally many.

    Args:
        length: number of samples, which are frames or crops.
        seed: of the order.
        rank, world_size: which of how many processes this is.
    """

    def __init__(self, length: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.seed = length, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Samples per epoch on this rank."""
        return -(-self.length // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        for position in np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]:
            yield epoch, int(position)
