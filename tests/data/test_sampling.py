"""The order of frames: shuffled, reproducible, shared out evenly."""

import pytest

from dlcexp.data.sampling import EpochSampler


def epoch_of(sampler: EpochSampler, epoch: int) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_holds_every_frame_once_and_says_which_it_is() -> None:
    keys = epoch_of(EpochSampler(10, seed=0), 3)
    assert {epoch for epoch, _ in keys} == {3}
    assert sorted(position for _, position in keys) == list(range(10))


def test_order_depends_on_seed_and_epoch_only() -> None:
    sampler = EpochSampler(50, seed=0)
    straight = [epoch_of(sampler, epoch) for epoch in range(4)]
    resumed = EpochSampler(50, seed=0)
    assert [epoch_of(resumed, epoch) for epoch in (2, 3)] == straight[2:]
    orders = {tuple(position for _, position in keys) for keys in straight}
    orders.add(tuple(position for _, position in epoch_of(EpochSampler(50, seed=1), 0)))
    assert len(orders) == 5


@pytest.mark.parametrize(("length", "world_size"), [(10, 1), (10, 2), (11, 2), (10, 3), (2, 5)])
def test_ranks_get_equally_many_and_together_everything(length: int, world_size: int) -> None:
    shares = [epoch_of(EpochSampler(length, 0, rank, world_size), 1) for rank in range(world_size)]
    assert {len(share) for share in shares} == {-(-length // world_size)}
    assert len(EpochSampler(length, 0, 0, world_size)) == len(shares[0])
    assert {position for share in shares for _, position in share} == set(range(length))
    assert sum(map(len, shares)) - length < world_size
