"""PROMO beside a frozen DSSM in plain PyTorch, one configuration at a time, as a user without this product would write it.

B or N rows, L items of a history, V items, I new items, E events of all items, K users of an item, D width, W width of an item's
network. Imports nothing of the product: what a process of a yardstick loads is what its user's process would load.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.sweep import plain_training
from benchmarks.sweep.plain_sasrec import FrozenSasRec, under
from benchmarks.sweep.plain_training import ndcg

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Given:
    """What training otherwise draws. T epochs, N rows.

    Args:
        orders: (T, N) int64, the order of rows.
        uniform: `negative` (T, N), `warm` (T, N) and `others` (T, N, most), in the order of the rows: numbers in [0, 1) behind a
            drawn item, a drawn item for the loss of popularity, and users who did not take a row's item.
        starts: seed -> start values by name.
    """

    orders: np.ndarray
    uniform: Arrays
    starts: Mapping[int, Arrays]


@dataclass(frozen=True)
class Rows:
    """The rows of a group of new items and the pre-trained weights, as arrays.

    Args:
        train: `user` (N,), `history` (N, L), `item` (N,) that the row is about, `place` (N,) of it behind the history.
        valid: `user`, `history` and `candidates` (N, K), the positive first.
        events: `start` (V + 1,), `user`, `time` and `worth` (E,): who took each item, in time order.
        members: (I,) ids of the new items.
        users, items: attribute -> its ids, in the order in which the towers read them.
        weights: of the backbone, by name.
        recent, least, popular: latest events of an item that count, with how few it borrows, and the share of items that lend.
        given: None: drawn in training.
    """

    train: Arrays
    valid: Arrays
    events: Arrays
    members: np.ndarray
    users: Arrays
    items: Arrays
    weights: Arrays
    recent: int
    least: int
    popular: float
    given: Given | None = None

    def load(self) -> Data:
        return Data(self)


class Data:
    """Rows as tensors, what the frozen towers make of users and items, and an item's best users: made once in a process."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.given = rows, rows.given
        self.train, self.valid, self.weights = (
            {name: torch.tensor(value) for name, value in held.items()} for held in (rows.train, rows.valid, rows.weights)
        )
        self.users, self.items = self._tower("user", rows.users), self._tower("item", rows.items)
        self.members = torch.tensor(rows.members)
        self.place = torch.zeros(len(self.items), dtype=torch.int64)  # (V,) of an item's network; 0: it is none of the new ones
        self.place[self.members] = torch.arange(1, len(self.members) + 1)
        lenders = self._lenders()
        self.best = self._best([(int(i), 0, int(lenders[i])) for i in rows.members])
        about = zip(rows.train["item"].tolist(), rows.train["user"].tolist(), strict=True)
        self.best_of_rows = self._best([(item, user, int(lenders[item])) for item, user in about])
        self.took = self._ids([self._events(i)[0] for i in rows.train["item"].tolist()])  # (N, recent)

    def training(self, configuration: Mapping[str, Any], seed: int) -> Training:
        return Training(self, configuration, seed)

    def _tower(self, name: str, attributes: Arrays) -> Tensor:
        """(V, D): of all users or items."""
        own = under("backbone.", self.weights)
        parts = [
            own[name],
            *(own[f"of.{f}"][torch.tensor(ids)] * torch.tensor(ids > 0)[:, None] for f, ids in attributes.items()),
        ]
        made: Tensor = torch.cat(parts, dim=1) @ own[f"tower.{name}"] + own[f"tower.{name}.bias"]
        return made

    def _lenders(self) -> Mapping[int, int]:
        """New item -> the popular item most similar to it (Tanimoto)."""
        count = np.diff(self.rows.events["start"])
        count[self.rows.members] = 0
        popular = np.argsort(-count, kind="stable")[: max(1, math.ceil(self.rows.popular * int((count > 0).sum())))]
        ours, theirs = self.items[self.members], self.items[torch.from_numpy(popular)]
        dot = ours @ theirs.T
        similar = dot / (ours.square().sum(1)[:, None] + theirs.square().sum(1) - dot).clamp(min=1e-12)
        return dict(zip(self.rows.members.tolist(), popular[similar.argmax(1).numpy()].tolist(), strict=True))

    def _events(self, item: int) -> tuple[np.ndarray, ...]:
        """Users, times and worth of its latest events, the last one first."""
        events, start = self.rows.events, self.rows.events["start"]
        places = np.arange(start[item], start[item + 1])[::-1][: self.rows.recent]
        return events["user"][places], events["time"][places], events["worth"][places]

    def _best(self, asked: Sequence[tuple[int, int, int]]) -> Tensor:
        """(N, recent) users of each item, those of most worth first, 0 behind: before a user took it, or all of them.

        Args:
            asked: item, the user who is not to be among them (0: none), and who lends to it.
        """
        found = []
        for item, user, lender in asked:
            users, times, worth = self._events(item)
            until = times[users == user].min() if user else times.max(initial=-1) + 1
            there = (users != user) & (times < until)
            if there.sum() < self.rows.least:
                users, times, worth = self._events(lender)
                there = (users != user) & (times < until)
            found.append(users[there][np.argsort(-worth[there], kind="stable")])
        return self._ids(found)

    def _ids(self, lists: Sequence[np.ndarray]) -> Tensor:
        out = np.zeros((len(lists), self.rows.recent), np.int64)
        for row, values in zip(out, lists, strict=True):
            row[: len(values)] = values
        return torch.from_numpy(out)


class Promo(nn.Module):
    """An item's best users through a network that is its own, fused with what the frozen model makes of the item."""

    def __init__(self, data: Data, c: Mapping[str, Any]) -> None:
        super().__init__()
        self.data, self.c = data, c
        self.backbone = FrozenSasRec(data.weights, c["heads"], c["dropout"])
        width, inner, hidden = data.items.shape[1], c["width"], c["fusion_width"]
        sizes, count = [width, *[inner] * c["layers"]], 1 + len(data.members)
        self.net = nn.ParameterList([nn.Parameter(torch.empty(count, a, b)) for a, b in pairwise(sizes)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(count, inner)) for _ in self.net])
        self.own = nn.Parameter(0.1 * torch.randn(count, inner))
        self.fuse = nn.ParameterDict(
            {n: nn.Parameter(torch.empty(size, hidden)) for n, size in (("item", width), ("told", inner), ("own", inner))}
        )
        self.fuse_bias, self.out = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(hidden, width))
        for matrix in (*(each for net in self.net for each in net), *self.fuse.values()):
            nn.init.xavier_uniform_(matrix)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What is tuned and all items share, by group."""
        return {"prompt": [*self.fuse.values(), self.fuse_bias, self.out]}

    def of_items(self) -> list[nn.Parameter]:
        """What is tuned of each item, a row for each."""
        return [*self.net, *self.bias, self.own]

    def through(self, place: Tensor, vectors: Tensor) -> Tensor:
        """(N, K, D) -> (N, K, W), by each item's own network."""
        for net, bias in zip(self.net, self.bias, strict=True):
            vectors = torch.relu(vectors @ net[place] + bias[place].unsqueeze(1))
        return vectors

    def represented(self, item: Tensor, users: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) of new items, and (N, K, W) of their users.

        Args:
            item: (N,). users: (N, K), 0 behind.
        """
        place, base, real = self.data.place[item], self.data.items[item], (users > 0).unsqueeze(2)
        made = self.through(place, self.data.users[users])
        told = (made * real).sum(1) / real.sum(1).clamp(min=1)
        hidden = base @ self.fuse["item"] + told @ self.fuse["told"] + self.own[place] @ self.fuse["own"] + self.fuse_bias
        return base + torch.relu(hidden) @ self.out, made

    def states(self, user: Tensor, history: Tensor, place: Tensor) -> Tensor:
        """(B, D): a user, and what the history before a place makes of him."""
        own = self.backbone
        tokens = own.norm(own.blocks(own.dropout(own.item(history) + own.position[: history.shape[1]])))
        before = tokens[torch.arange(len(user)), (place - 1).clamp(min=0)] * (place > 0).unsqueeze(1)
        return self.data.users[user] + before @ self.data.weights["backbone.tower.history"]

    def table(self) -> Tensor:
        """(V, D): all items, the new ones by the prompt."""
        written, _ = self.represented(self.data.members, self.data.best[:, : self.c["feedback"]])
        return self.data.items.index_copy(0, self.data.members, written)

    def loss(self, index: Tensor, negative: Tensor, warm: Tensor, others: Tensor) -> Tensor:
        """Cross-entropy of a row's item and of a drawn one, and both losses of PROMO.

        Args:
            index: (B,) rows. negative, warm: (B,) items. others: (B, K) users.
        """
        data, c = self.data, self.c
        user, history, item, place = (data.train[name][index] for name in ("user", "history", "item", "place"))
        state, items, users = self.states(user, history, place), self.table(), data.best_of_rows[index][:, : c["feedback"]]
        target, made = self.represented(item, users)
        positive, taken = (state * target).sum(1), torch.cat([history, item.unsqueeze(1)], dim=1)
        new = (taken != negative.unsqueeze(1)).all(1)
        drawn = F.softplus((state * items[negative]).sum(1)) * new
        next_item = (F.softplus(-positive) + drawn).mean() / (history.shape[1] + 1)
        theirs = self.through(data.place[item], data.users[others])
        stranger = (others.unsqueeze(2) != data.took[index].unsqueeze(1)).all(2)
        pairs = (users > 0).unsqueeze(2) & stranger.unsqueeze(1)
        distance = ((made.unsqueeze(2) - theirs.unsqueeze(1)).abs().sum(3) * pairs).sum((1, 2))
        count = pairs.sum((1, 2))
        apart = (F.softplus(-distance / count.clamp(min=1)) * (count > 0)).mean()
        below = (data.place[warm] == 0) & (taken != warm.unsqueeze(1)).all(1)
        score = (state * items[warm]).sum(1)
        gap = positive.mean() - (score * below).sum() / below.sum().clamp(min=1)
        lifted = F.softplus(-gap) * below.any()
        return next_item + c["feedback_weight"] * apart + c["fairness_weight"] * lifted

    def scores(self, states: Tensor) -> Tensor:
        """(N, K) of the candidates."""
        picked = self.table()[self.data.valid["candidates"]]
        return (picked @ states.unsqueeze(2)).squeeze(2)


class Training(plain_training.Training[Promo]):
    """One configuration. What the frozen model makes of the rows of validation is computed once.

    Args:
        data: rows, what is frozen and perhaps what is given.
        configuration: `lr.prompt`, `weight_decay.prompt`, `feedback`, `width`, `layers`, `fusion_width`, `feedback_weight`,
            `fairness_weight`, `dropout`, `heads`, `batch_size`.
        seed: of all that is drawn; names the start values where they are given.
    """

    def __init__(self, data: Data, configuration: Mapping[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.c, valid = data, configuration, data.valid
        model = Promo(data, self.c)
        if data.given:
            take(model, {name: torch.tensor(value) for name, value in data.given.starts[seed].items()})
        with torch.no_grad():
            self.states = model.eval().states(valid["user"], valid["history"], (valid["history"] > 0).sum(1))
        super().__init__(model, model.groups(), configuration)
        self.optimizers.append(AdamOfRows(model.of_items(), self.c["lr.prompt"], self.c["weight_decay.prompt"]))

    def losses(self) -> Iterator[Tensor]:
        items, users = len(self.data.items), len(self.data.users)
        for index, negative, warm, others in self._drawn():
            ids = (1 + (u.double() * (size - 1)).long() for u, size in ((negative, items), (warm, items), (others, users)))
            yield self.model.loss(index, *ids)

    def value(self) -> float:
        return ndcg(self.model.scores(self.states), 10)

    def _drawn(self) -> Iterator[Sequence[Tensor]]:
        """Rows of each step, and uniform numbers behind what is drawn for them."""
        count, most, given = len(self.data.train["item"]), self.c["feedback"], self.data.given
        if given:
            own = [given.orders, given.uniform["negative"], given.uniform["warm"], given.uniform["others"][..., :most]]
            whole = [torch.tensor(of[self.done]) for of in own]
        else:
            whole = [torch.randperm(count), torch.rand(count), torch.rand(count), torch.rand(count, most)]
        yield from zip(*(part.split(self.c["batch_size"]) for part in whole), strict=True)


class AdamOfRows(torch.optim.Optimizer):
    """Adam of which each row of a tensor counts its own steps: one without a gradient rests, and does not decay."""

    def __init__(self, tensors: Sequence[nn.Parameter], rate: float, decay: float) -> None:
        super().__init__([*tensors], {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                held = self.state[p]
                if not held:
                    held |= {
                        "first": torch.zeros_like(p),
                        "second": torch.zeros_like(p),
                        "count": torch.zeros(len(p), dtype=torch.float64),
                    }
                rows = p.grad.flatten(1).any(1).nonzero().squeeze(1)
                gradient = p.grad[rows] + group["weight_decay"] * p[rows]
                held["count"][rows] += 1
                count = held["count"][rows].view(-1, *[1] * (p.dim() - 1))  # 1 - 0.999 of few digits would show
                size, root = (group["lr"] / (1 - 0.9**count)).float(), (1 - 0.999**count).sqrt().float()
                first = held["first"][rows].lerp(gradient, 0.1)
                second = 0.999 * held["second"][rows] + 0.001 * gradient.square()
                held["first"][rows], held["second"][rows] = first, second
                p[rows] -= size * first / (second.sqrt() / root + 1e-8)


@torch.no_grad()
def take(model: Promo, values: Mapping[str, Tensor]) -> None:
    """Start values as the product names them."""
    own = under("prompt.", values)
    for i, (net, bias) in enumerate(zip(model.net, model.bias, strict=True)):
        net.copy_(own[f"net.{i}.weight"])
        bias.copy_(own[f"net.{i}.bias"])
    for name, matrix in model.fuse.items():
        matrix.copy_(own[f"fuse.{name}"])
    for held, name in ((model.own, "own"), (model.fuse_bias, "fuse.bias"), (model.out, "fuse.out")):
        held.copy_(own[name])
