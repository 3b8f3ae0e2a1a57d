"""Adam with a learning rate, a decay, betas and a schedule per lane."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma and Ba, 2014) with coupled L2 decay, over stacked parameters (T, *shape).

    One fused kernel call for each lane and group: it reads and writes each number once, an order of magnitude less traffic than
    the same formula in separate operations over (T, *shape).

    Of tensors by items (`lazy`) a step touches only the rows that have a gradient: the others keep value and moments and do not
    decay, and each row counts its own steps. So a row's way depends on its own gradients alone, as if it were trained by itself.

    Args:
        params: full name -> (T, *shape) leaf.
        groups: full name -> parameter group.
        lr, decay: per lane, group -> value.
        live: per lane, full name -> how many leading rows are updated, where the last ones occur in no training row (they keep
            their value and are not decayed).
        betas: per lane (beta1, beta2).
        lazy: full names of the tensors whose rows are updated one by one.
    """

    def __init__(
        self,
        params: Mapping[str, Tensor],
        groups: Mapping[str, str],
        lr: Sequence[Mapping[str, float]],
        decay: Sequence[Mapping[str, float]],
        live: Sequence[Mapping[str, int]],
        betas: Sequence[tuple[float, float]],
        lazy: Collection[str] = (),
    ) -> None:
        self.params, self.groups, self.live = dict(params), dict(groups), list(live)
        self.lr, self.decay, self.betas = list(lr), list(decay), list(betas)
        self.first = {name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()}
        self.second = {name: torch.zeros_like(p, requires_grad=False) for name, p in params.items()}
        self.taken = {name: torch.zeros(p.shape[:2], device=p.device) for name, p in params.items() if name in lazy}
        self.steps = [0] * len(self.lr)
        self._views()

    def _views(self) -> None:
        """Per lane and group: parameters and moments, live rows alone."""
        dense = [n for n in self.params if n not in self.taken]
        self.members = {g: [n for n in dense if self.groups[n] == g] for g in sorted({self.groups[n] for n in dense})}
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
        for name in self.taken:
            self._step_of_rows(name, grads[name], idle, factors)

    def _step_of_rows(self, name: str, grad: Tensor, idle: Sequence[int], factors: Sequence[float]) -> None:
        """One update of the rows that have a gradient, of all lanes at once. Shapes: R rows that are updated."""
        lanes, rows = self.taken[name].shape
        met = (grad.reshape(lanes, rows, -1) != 0).any(2)
        met[torch.tensor(idle, dtype=torch.long)] = False
        at = met.flatten().nonzero().squeeze(1)  # (R,)
        held = [t.detach().view(lanes * rows, -1) for t in (self.params[name], self.first[name], self.second[name])]
        value, first, second = (t.index_select(0, at) for t in held)
        taken = self.taken[name].view(-1).index_add_(0, at, torch.ones_like(at, dtype=torch.float32))
        group = self.groups[name]
        rates = [self.lr[t][group] * (factors[t] if factors else 1.0) for t in range(lanes)]
        of_lanes = torch.tensor(
            [[*b, r, d[group]] for b, r, d in zip(self.betas, rates, self.decay, strict=True)],
            dtype=torch.float64,
            device=grad.device,
        )
        beta1, beta2, rate, decay = of_lanes[at // rows].unsqueeze(2).unbind(1)  # (R, 1) each
        count = taken[at].unsqueeze(1).double()
        size = (rate / (1 - beta1**count)).to(value)
        root = (1 - beta2**count).sqrt().to(value)
        beta1, beta2 = beta1.to(value), beta2.to(value)
        slope = grad.reshape(lanes * rows, -1).index_select(0, at) + decay.to(value) * value
        first = beta1 * first + (1 - beta1) * slope
        second = beta2 * second + (1 - beta2) * slope.square()
        value = value - size * first / (second.sqrt() / root + 1e-8)
        for tensor, new in zip(held, (value, first, second), strict=True):
            tensor.index_copy_(0, at, new)

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
        self.taken = {n: c[index].contiguous() for n, c in self.taken.items()}
        self._views()
