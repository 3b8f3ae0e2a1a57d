"""The trial axis: look-ups, products, shared noise and padding for tensors with a leading axis U (1 or T).

Shapes: U: 1 or T lanes, B rows, L places, K and H widths, V ids.

A value that all lanes share has a leading 1 and is computed once; these functions choose the product that keeps it so (folding
shared rows into one matrix product instead of expanding them, stacking the others).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Generator, Tensor

from raytune_rec.schema.contract import Batch

Params = Mapping[str, Tensor]
Init = Callable[[tuple[int, ...], Generator], Tensor]


def lookup(table: Tensor, ids: Tensor) -> Tensor:
    """Rows of an embedding table.

    Args:
        table: (U, V, *rest).
        ids: (U, B) or (U, B, L) int64.

    Returns:
        (U, *ids.shape[1:], *rest), U = 1 only if both are shared.
    """
    lanes, size = table.shape[:2]
    if lanes == 1:
        rows = table.squeeze(0).index_select(0, ids.reshape(-1))  # the gradient of `table[0]` is one more table of zeros
        return rows.view(*ids.shape, *table.shape[2:])
    if ids.shape[0] == 1 and table.dim() == 2:  # numbers: half the time of a selection along axis 1
        return table.gather(1, ids.reshape(1, -1).expand(lanes, -1)).view(lanes, *ids.shape[1:])
    if ids.shape[0] == 1:  # the gradient of a selection along axis 1 is 7 times cheaper than that of an indexed look-up
        rows = table.index_select(1, ids.reshape(-1))
        return rows.view(lanes, *ids.shape[1:], *table.shape[2:])
    offset = torch.arange(lanes, device=ids.device).mul(size).view(lanes, *[1] * (ids.dim() - 1))
    rows = table.reshape(lanes * size, *table.shape[2:]).index_select(0, (ids + offset).reshape(-1))
    return rows.view(*ids.shape, *table.shape[2:])


@dataclass(frozen=True)
class Sums(Mapping[str, Tensor]):
    """Tensors to some of which something is added when they are asked for.

    Args:
        own: name -> (U, *shape). names: of those that are changed.
        change: name -> (U, *shape), what is added.
        change_rows: (name, ids) -> (U, *ids.shape[1:], *rest), what is added to some rows of a table; None: it tells no rows.
    """

    own: Params
    names: frozenset[str]
    change: Callable[[str], Tensor]
    change_rows: Callable[[str, Tensor], Tensor] | None = None

    def __getitem__(self, name: str) -> Tensor:
        return self.own[name] + self.change(name) if name in self.names else self.own[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)


def rows_of(params: Params, name: str, ids: Tensor) -> Tensor:
    """Rows of the table `name`, as of `lookup`. To a table that is changed is added in these rows alone, where they are fewer."""
    if not isinstance(params, Sums) or name not in params.names or params.change_rows is None:
        return lookup(params[name], ids)
    own = params.own[name]
    if own.shape[1] <= ids[0].numel():
        return lookup(params[name], ids)
    return lookup(own, ids) + params.change_rows(name, ids)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight + bias` per lane.

    Args:
        x: (U, B, K). weight: (U, K, H). bias: (U, H).

    Returns:
        (U, B, H), U = 1 only if all are shared.
    """
    if weight.shape[0] > 1:
        x = x.expand(weight.shape[0], -1, -1)
        return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight)
    flat, shape = x.reshape(-1, x.shape[-1]), (*x.shape[:-1], weight.shape[-1])
    if bias is None or bias.shape[0] > 1:
        y = (flat @ weight.squeeze(0)).view(shape)
        return y if bias is None else y + bias.unsqueeze(1)
    return torch.addmm(bias.squeeze(0), flat, weight.squeeze(0)).view(shape)


def once(compute: Callable[[Tensor], Tensor], name: str, reading: Tensor, batch: Batch) -> Tensor:
    """A function of one reading, computed once for rows of the batch that read the same (those of one user, say).

    Args:
        compute: (U, G, width) -> (U, G, K), row by row, from the reading alone: neither noise nor columns of the batch.
        name: of the reading.
        reading: (U, B, width).

    Returns:
        (U, B, K).
    """
    known = batch.distinct(name) if batch.distinct else None
    return compute(reading) if known is None else compute(known[0]).index_select(1, known[1])


class _Moments(torch.autograd.Function):
    """Autograd's own way writes the stacked vectors several times; this one writes each gradient once."""

    @staticmethod
    def forward(ctx: Any, *vectors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*vectors)
        total, squares = vectors[0], vectors[0].square()
        for v in vectors[1:]:
            total, squares = total + v, torch.addcmul(squares, v, v)
        return total if len(vectors) > 1 else total.clone(), squares.sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        of_total, of_square = grads[0], 2 * grads[1].unsqueeze(-1)
        return tuple(torch.addcmul(of_total, v, of_square).sum_to_size(v.shape) for v in ctx.saved_tensors)


def moments(vectors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Sum of some vectors, and sum of their squares over vectors and width: what a factorisation machine needs.

    Args:
        vectors: each (U, B, D).

    Returns:
        (U, B, D) and (U, B).
    """
    total, squares = _Moments.apply(*vectors)
    return total, squares


def lane(value: Tensor, dims: int) -> Tensor:
    """A (T,) or (1,) option, shaped to broadcast against a tensor with `dims` axes of which the first is U."""
    return value.view(-1, *[1] * (dims - 1))


def mix(*parts: object) -> int:
    """A stable 63-bit key of its parts, the same on every machine and run (unlike `hash`)."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: object) -> Generator:
    """A CPU generator seeded by its parts."""
    return torch.Generator().manual_seed(mix(*parts))


_MASK = 0xFFFFFFFF


def _scramble(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers (held in int64) that leaves no visible pattern:

    two rounds of xor-shift and odd multiplication.
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D & _MASK
    x = (x ^ (x >> 15)) * 0x846CA68B & _MASK
    return x ^ (x >> 16)


def _scramble_(x: Tensor) -> Tensor:
    """The same in int32, in place and without the top bits' sign: 15 times as fast."""
    part = (x >> 16).bitwise_and_(0xFFFF)
    x.bitwise_xor_(part).mul_(0x7FEB352D)
    torch.bitwise_right_shift(x, 15, out=part)
    x.bitwise_xor_(part.bitwise_and_(0x1FFFF)).mul_(0x846CA68B - 2**32)
    torch.bitwise_right_shift(x, 16, out=part)
    return x.bitwise_xor_(part.bitwise_and_(0xFFFF))


@lru_cache(maxsize=64)
def _columns(features: int, device: torch.device) -> Tensor:
    """(features,) int32, the hash of each column."""
    return _scramble(torch.arange(1, features + 1, device=device) * 0x85EBCA77 & _MASK).to(torch.int32)


@dataclass(frozen=True)
class Noise:
    """Uniform noise that is a function of (key, site, row, feature) alone: the same for every lane, width, pack and device.

    Args:
        keys: one per U, from (job seed, unit, replicate, step).
        rows: (U, B) int64, the identity of each row.
    """

    keys: tuple[int, ...]
    rows: Tensor

    def uniform(self, site: str, features: int) -> Tensor:
        """(U, B, features) float32 in [0, 1). The first `features` columns do not depend on how many are drawn."""
        device = self.rows.device
        salt = torch.tensor([mix(k, site) & _MASK for k in self.keys], dtype=torch.int64, device=device).view(-1, 1)
        row = _scramble((self.rows * 0x9E3779B1 + salt) & _MASK).to(torch.int32).unsqueeze(-1)
        drawn = _scramble_(row ^ _columns(features, device))
        return (drawn >> 8).bitwise_and_(0xFFFFFF).to(torch.float32).mul_(2.0**-24)

    def normal(self, site: str, features: int) -> Tensor:
        """(U, B, features) float64, the standard normal numbers of `uniform`."""
        return torch.special.ndtri(self.uniform(site, features).double() + 2.0**-25)

    def integers(self, site: str, count: int, low: int, high: int) -> Tensor:
        """(U, count) int64 in [low, high): for what all rows of a step share."""
        drawn = [torch.randint(low, high, (count,), generator=generator(key, site)) for key in self.keys]
        return torch.stack(drawn).to(self.rows.device)

    def other(self, view: str) -> Noise:
        """Noise of the same rows that has nothing to do with this one."""
        return Noise(tuple(mix(key, view) for key in self.keys), self.rows)

    def scalar(self, site: str) -> Tensor:
        """(U,) float32 in [0, 1): one number per step."""
        return torch.tensor([(mix(k, site, "scalar") >> 39) * 2.0**-24 for k in self.keys], device=self.rows.device)


@dataclass
class Step:
    """One pass through a model.

    Args:
        training: dropout is active, and batch norm of a trained group uses the batch.
        trained: parameter groups that learn.
        noise: shared noise; None outside training.
        updates: running statistics that the pass has renewed, by buffer name. The loop stores them.
        last: of a history, only what stands after all of it is read: a sequence model may leave out the rest.
    """

    training: bool
    trained: frozenset[str] = frozenset()
    noise: Noise | None = None
    updates: dict[str, Tensor] = field(default_factory=dict)
    last: bool = False

    def view(self, name: str, last: bool = False) -> Step:
        """The same pass for another view of the rows, with noise of its own where it has a name."""
        return replace(self, noise=self.noise.other(name) if name and self.noise else self.noise, last=last)


def drops(rate: Tensor, step: Step) -> bool:
    """Whether dropout of a (U,) rate does anything in this pass."""
    return step.training and step.noise is not None and bool((rate > 0).any())


def dropout(x: Tensor, rate: Tensor, step: Step, site: str) -> Tensor:
    """Inverted dropout: every lane thresholds the same noise with its own rate.

    Args:
        x: (U, B, H). rate: (U,) in [0, 1).
    """
    if not drops(rate, step) or step.noise is None:
        return x
    return thinned(x, rate, step.noise.uniform(site, x.shape[-1]))


def thinned(x: Tensor, rate: Tensor, noise: Tensor) -> Tensor:
    """(U, B, ...) times 0 where the noise (U, B, ...) is below a lane's rate (U,), and 1 / (1 - rate) elsewhere."""
    rate, noise = lane(rate.to(x.dtype), noise.dim()), noise.to(x.dtype)
    shape = (max(len(noise), len(rate)), *noise.shape[1:])
    keep = torch.ge(noise, rate, out=noise.new_empty(shape))  # 1 or 0 at once: a product with booleans takes five times as long
    return x * keep.mul_(1 / (1 - rate))


def contrast(a: Tensor, b: Tensor, temperature: Tensor, weight: Tensor) -> Tensor:
    """InfoNCE of two views of the same rows: each row's second view is to be found among those of the whole batch, by cosine.

    Args:
        a, b: (U, B, D). temperature: (U,) above 0. weight: (U, B), rows of weight 0 are no candidates.

    Returns:
        (U, B).
    """
    a, b = (torch.nn.functional.normalize(x, dim=-1, eps=1e-6) for x in (a, b))
    score = a @ b.transpose(-1, -2) / lane(temperature.to(a.dtype), 3)  # (U, B, B)
    score = score.masked_fill((weight == 0).unsqueeze(1), -torch.inf)
    positive = torch.diagonal(score, dim1=-2, dim2=-1)
    return torch.where(weight > 0, torch.logsumexp(score, dim=-1) - positive, 0.0)


KEPT = 2**25 - 2**16
"""Bytes of the largest block of memory that glibc can be made to keep."""


def keep_memory() -> None:
    """Let glibc keep freed memory for the next tensor: it returns a block of this size or less to the system until it has
    once freed a block of its largest kind, and every step or pass would pay for its pages anew. Without effect elsewhere.
    """
    torch.empty(KEPT, dtype=torch.uint8)


def pad(tensors: Sequence[Tensor]) -> Tensor:
    """Stack lanes of unequal shapes, zeros behind: (T, *max shape)."""
    shape = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    out = tensors[0].new_zeros(len(tensors), *shape)
    for place, value in zip(out, tensors, strict=True):
        place[tuple(slice(0, s) for s in value.shape)] = value
    return out


def crop(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The leading block of a true shape: the inverse of `pad` for one lane."""
    return tensor[tuple(slice(0, s) for s in shape)]


def zeros(shape: tuple[int, ...], _: Generator) -> Tensor:
    return torch.zeros(shape)


def ones(shape: tuple[int, ...], _: Generator) -> Tensor:
    return torch.ones(shape)


def normal(std: float) -> Init:
    """N(0, std)."""
    return lambda shape, g: torch.randn(shape, generator=g) * std


def table(std: float) -> Init:
    """N(0, std) with a zero row 0: padding and unknown ids say nothing."""

    def draw(shape: tuple[int, ...], g: Generator) -> Tensor:
        rows = torch.randn(shape, generator=g) * std
        rows[0] = 0
        return rows

    return draw


def xavier(shape: tuple[int, ...], g: Generator) -> Tensor:
    """Glorot uniform over the last two axes (a vector counts as one row)."""
    fan_in, fan_out = (1, shape[0]) if len(shape) == 1 else shape[-2:]
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return (torch.rand(shape, generator=g) * 2 - 1) * bound
