"""The order of rows: every row once an epoch, the same batches in memory and in a stream, a function of the key alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raytune_rec.schema.prepared import Table
from raytune_rec.tensors import Noise
from raytune_rec.training.feed import StreamFeed, TableFeed
from tests.training.conftest import table

KEY = (3, "music", 0)


def blocks(whole: Table, rows: int) -> list[Table]:
    return [
        Table({n: c[i : i + rows] for n, c in whole.columns.items()}, whole.label[i : i + rows])
        for i in range(0, len(whole), rows)
    ]


@pytest.mark.parametrize(("rows", "batch"), [(64, 48), (1000, 5), (1000, 64), (50, 120), (700, 700)])
def test_a_stream_of_blocks_gives_the_batches_of_the_table(rows: int, batch: int) -> None:
    whole = table(700, 1)
    memory, stream = TableFeed(whole, [KEY], batch, rows), StreamFeed(blocks(whole, rows), KEY, batch)
    for epoch in (1, 2):
        ours, theirs = list(memory.epoch(epoch)), list(stream.epoch(epoch))
        assert len(ours) == len(theirs) == -(-700 // batch)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.index, b.index) and torch.equal(a.label, b.label)
            assert all(torch.equal(a.columns[n], b.columns[n]) or torch.isnan(a.columns[n]).any() for n in a.columns)


def test_an_epoch_has_every_row_once_in_a_new_order_that_the_trial_does_not_decide() -> None:
    feed = TableFeed(table(700, 1), [KEY], 64, 256)
    epochs = [torch.cat([b.index[0] for b in feed.epoch(e)]) for e in (1, 2, 1)]
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0].sort().values, torch.arange(700))


def test_workers_share_out_each_batch() -> None:
    whole = table(333, 1)
    alone = [b.index[0] for b in StreamFeed(blocks(whole, 100), KEY, 64).epoch(1)]
    shares = [[b.index[0] for b in StreamFeed(blocks(whole, 100), KEY, 64, rank=r, world=2).epoch(1)] for r in (0, 1)]
    for batch, a, b in zip(alone, *shares, strict=True):
        assert torch.equal(batch.sort().values, torch.cat([a, b]).sort().values) and abs(len(a) - len(b)) <= 1


def test_noise_depends_on_key_site_row_and_feature_alone() -> None:
    rows = torch.tensor([[4, 9, 2]])
    wide, narrow = Noise((7,), rows).uniform("deep.0", 32), Noise((7,), rows).uniform("deep.0", 5)
    assert torch.equal(wide[..., :5], narrow)
    assert torch.equal(Noise((7,), torch.tensor([[2, 4]])).uniform("deep.0", 5)[0], narrow[0, [2, 0]])
    two = Noise((7, 8), rows.expand(2, -1)).uniform("deep.0", 5)
    assert torch.equal(two[0], narrow[0]) and not torch.equal(two[0], two[1])
    assert not torch.equal(Noise((7,), rows).uniform("deep.1", 5), narrow)


def test_noise_is_uniform_and_uncorrelated() -> None:
    u = Noise((11,), torch.arange(20_000).unsqueeze(0)).uniform("x", 8)[0].double().numpy()
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=50, range=(0, 1))[0]
    expected = u.size / 50
    assert ((counts - expected) ** 2 / expected).sum() < 100  # chi-squared with 49 degrees of freedom: p near 2e-5
    between = np.corrcoef(u.T) - np.eye(8)
    assert np.abs(between).max() < 0.03
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03
