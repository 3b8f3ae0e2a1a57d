"""Adam with a learning rate, a decay, betas and a schedule per lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba, 2014) with coupled L2 decay, over stacked parameters (T, *shape).

    One fused kernel call for each lane and group: it reads and writes each number once, an order of magnitude less traffic than
    the same formula in separate operations over (T, *shape).

    Args:
        params: full name -> (T, *shape) leaf.
        groups: full name -> parameter group.
        lr, decay: per lane, group -> value.
        live: per lane, full name -> how many leading rows are updated, where the last ones occur in no training row (they keep
            their value and are not decayed).
        betas: per lane (beta1, beta2).
    """

    def __init__(
        self,
        params: Mapping[str, Tensor],
        groups: Mapping[str, str],
        lr: Sequence[Mapping[str, float]],
        decay: Sequence[Mapping[str, float]],
        live: Sequence[Mapping[str, int]],
        betas: Sequence[tuple[float, float]],
    ) -> None:
        self.params, self.groups, self.live = dict(params), dict(groups), list(live)
        self.lr, self.decay, self.betas = list(lr), list(decay), list(betas)
        self.first = {name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()}
        self.second = {name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()}
        self.steps = [0] * len(self.lr)
        self._views()

    def _views(self) -> None:
        """Per lane and group: parameters and moments, live rows alone."""
        self.members = {g: [n for n in self.params if self.groups[n] == g] for g in sorted(set(self.groups.values()))}
        held = (self.params, self.first, self.second)
        self.slices = [
            {
                group: tuple([self._rows(n, t, tensors[n][t].detach()) for n in names] for tensors in held)
                for group, names in self.members.items()
            }
            for t in range(len(self.lr))
        ]
        device = next(iter(self.params.values())).device if self.params else "cpu"
        most = max(map(len, self.members.values()), default=0)
        self.counters = [[torch.tensor(float(n), device=device) for _ in range(most)] for n in dict.fromkeys(self.steps)]

    def _rows(self, name: str, lane: int, tensor: Tensor) -> Tensor:
        return tensor[: self.live[lane][name]] if name in self.live[lane] else tensor

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor], idle: Sequence[int] = (), factors: Sequence[float] = ()) -> None:
        """One update from the gradients (T, *shape).

        Args:
            idle: lanes that make no step (their unit has no more rows in this epoch).
            factors: of the learning rates, per lane, where a schedule changes them.
        """
        # The kernel reads a gradient by the parameter's strides; that of a folded product comes permuted.
        unbound = {name: g.contiguous().unbind(0) for name, g in grads.items()}
        counters = self._count(idle)
        for t, of_lane in enumerate(self.slices):
            if t in idle:
                continue
            beta1, beta2 = self.betas[t]
            for group, (params, first, second) in of_lane.items():
                mine = [self._rows(n, t, unbound[n][t]) for n in self.members[group]]
                torch._fused_adam_(
                    params, mine, first, second, [], counters[t][: len(params)],
                    lr=self.lr[t][group] * (factors[t] if factors else 1.0), beta1=beta1, beta2=beta2,
                    weight_decay=self.decay[t][group], eps=1e-8, amsgrad=False, maximize=False,
                )  # fmt: skip

    def _count(self, idle: Sequence[int]) -> list[list[Tensor]]:
        """The lanes' counters, one step further; lanes that have made as many steps share theirs."""
        self.steps = [n if t in idle else n + 1 for t, n in enumerate(self.steps)]
        different = list(dict.fromkeys(n for t, n in enumerate(self.steps) if t not in idle))
        while len(self.counters) < len(different):
            self.counters.append([counter.clone() for counter in self.counters[0]])
        of_number = dict(zip(different, self.counters, strict=False))
        for number, counters in of_number.items():
            for counter in counters:
                counter.fill_(number)
        return [of_number.get(n, []) for n in self.steps]

    def keep(self, lanes: Sequence[int], params: Mapping[str, Tensor]) -> None:
        """Go on with some lanes only; `params` are their tensors."""
        self.params = dict(params)
        index = list(lanes)
        self.lr, self.decay = [self.lr[i] for i in index], [self.decay[i] for i in index]
        self.betas = [self.betas[i] for i in index]
        self.live, self.steps = [self.live[i] for i in index], [self.steps[i] for i in index]
        self.first = {n: m[index].contiguous() for n, m in self.first.items()}
        self.second = {n: m[index].contiguous() for n, m in self.second.items()}
        self._views()
