"""What one rank computes of a batch, so that all of them together do what one process does."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.engine.world import Ranks, World


def ranks(size: int) -> list[Ranks]:
    """The ranks of a world that nobody has to meet for: sharing asks nobody."""
    made = []
    for rank in range(size):
        world = Ranks.__new__(Ranks)
        world.rank, world.size = rank, size
        made.append(world)
    return made


def test_alone_everything_is_its_own() -> None:
    world, rows = World.alone(), torch.arange(5)
    share = world.share(rows)
    assert share.rows is rows
    assert (share.loss_scale, share.counted) == (1.0, True)
    model = torch.nn.Linear(2, 2)
    assert world.wrap(model) is model
    assert world.is_first
    assert world.any(True)
    assert not world.any(False)
    assert world.gather("state") == ["state"]
    assert world.sum_(torch.ones(2)).tolist() == [1, 1]


@given(count=st.integers(1, 40), size=st.integers(1, 8))
def test_shares_are_counted_once_and_average_to_the_mean_over_the_batch(count: int, size: int) -> None:
    rows = torch.arange(count)
    losses = torch.linspace(-3, 5, count, dtype=torch.float64)
    shares = [world.share(rows) for world in ranks(size)]
    assert sorted(row for share in shares if share.counted for row in share.rows.tolist()) == rows.tolist()
    averaged = sum(losses[share.rows].mean() * share.loss_scale for share in shares) / size
    torch.testing.assert_close(averaged, losses.mean())


@given(count=st.integers(2, 40), size=st.integers(1, 8))
def test_no_rank_gets_a_single_row_where_there_are_more(count: int, size: int) -> None:
    """Batch normalisation has nothing to normalise with one."""
    assert all(len(world.share(torch.arange(count)).rows) >= 2 for world in ranks(size))


@given(count=st.integers(0, 20), size=st.integers(1, 5))
def test_each_batch_is_evaluated_by_one_rank(count: int, size: int) -> None:
    batches = [torch.tensor([number]) for number in range(count)]
    split = [batch.item() for world in ranks(size) for batch in world.split(batches)]
    assert sorted(split) == list(range(count))
