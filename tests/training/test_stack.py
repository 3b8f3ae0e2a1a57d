"""One way to a model, with a start for each lane: what is equal is shared, what differs stands side by side."""

from __future__ import annotations

import torch

from raytune_rec.schema.work import Lane
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.tensors import Step
from raytune_rec.training.feed import TableFeed
from raytune_rec.training.stack import Weights, stack
from tests.training.conftest import table
from tests.training.test_contract import parts


def drawn(seed: int) -> dict[str, torch.Tensor]:
    """A pre-trained DeepFM with its prompt, larger than start values."""
    model, draw = stack(parts("deepfm", "plate", ALIASES["pretrain_prompt"]), [Lane(0)]), torch.Generator().manual_seed(seed)
    return {n: t[0] + 0.3 * torch.randn(t[0].shape, generator=draw) for n, t in model.trained.items()}


def test_equal_tensors_are_shared_and_lanes_of_different_starts_score_as_alone() -> None:
    base = drawn(1)
    other = {n: t + 0.1 if n.startswith(("backbone.linear", "prompt.")) else t.clone() for n, t in base.items()}
    starts: list[Weights] = [base, other, base]
    made = parts("deepfm", "plate", ALIASES["tuning_free"], *[{"meta_prompts": r, "temperature": 0.5} for r in (10, 7, 4)])
    model = stack(made, [Lane(i) for i in range(3)], starts)
    widths = {name: len(tensor) for name, tensor in model.fixed.items()}
    assert {n for n, lanes in widths.items() if lanes == 1 and n.startswith("backbone.")} == {
        n for n in base if n.startswith("backbone.") and not n.startswith("backbone.linear")
    }
    assert widths["backbone.linear.user"] == widths["prompt.meta"] == 3
    assert not model.encoding_is_frozen, "lanes of different backbones have no encoding in common"
    batch = next(iter(TableFeed(table(40, 3), [(1,)], 40, 40).epoch(1)))
    together = model.forward(batch, model.encode(batch), Step(False))["logit"]
    for i, start in enumerate(starts):
        own = {"meta_prompts": (10, 7, 4)[i], "temperature": 0.5}
        alone = stack(parts("deepfm", "plate", ALIASES["tuning_free"], own), [Lane(0)], [start])
        torch.testing.assert_close(alone.forward(batch, alone.encode(batch), Step(False))["logit"][0], together[i])
        view = model.part([i])
        torch.testing.assert_close(view.forward(batch, view.encode(batch), Step(False))["logit"][0], together[i])
