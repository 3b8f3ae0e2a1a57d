"""Look-ups on axes other than the row's: weights of a row's domain, items of a unit, who gave an item feedback.

M  domains; the other shapes as in `schema`. Nothing here copies a weight for each row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from raytune_rec.schema.contract import Batch, Site
from raytune_rec.schema.prepared import ITEM, Feedback
from raytune_rec.tensors import linear, lookup


def domain_linear(x: Tensor, weight: Tensor, domain: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight + bias` with the weights of each row's domain: one product for each domain that occurs.

    Args:
        x: (U, B, K). weight: (U, M, K, H). domain: (U, B) int64 below M. bias: (U, M, H).

    Returns:
        (U, B, H).
    """
    if len(domain) > 1:  # lanes with rows of their own
        given = [t for t in (x, weight, domain, bias) if t is not None]
        lanes = [[t[i : i + 1] if len(t) > 1 else t for t in given] for i in range(len(domain))]
        return torch.cat([domain_linear(*lane) for lane in lanes])
    order = domain[0].argsort(stable=True)
    counts = domain[0].bincount(minlength=weight.shape[1]).tolist()
    parts = x.index_select(1, order).split(counts, 1)
    made = [linear(part, weight[:, m], None if bias is None else bias[:, m]) for m, part in enumerate(parts) if counts[m]]
    return torch.cat(made, 1).index_select(1, order.argsort())


def domain_moments(x: Tensor, weight: Tensor, domain: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and number of the rows of each domain.

    Args:
        x: (U, B, H). weight: (U, B), 0 of rows that do not count. domain: (U, B). count: M.

    Returns:
        (U, M, H), (U, M, H) and (U, M); zeros where a domain has no row.
    """
    share = one_hot(domain, count).to(x.dtype) * weight.unsqueeze(-1)  # (U, B, M)
    rows = share.sum(1)
    share = (share / rows.clamp(min=1).unsqueeze(1)).transpose(1, 2)
    mean = share @ x
    return mean, share @ (x - lookup(mean, domain.expand(len(mean), -1))).square(), rows


def item_rows(table: Tensor, ids: Tensor, sites: Mapping[Site, Tensor], batch: Batch) -> Tensor:
    """Representations of some items, with what a prompt writes at ITEM in place of the unit's own. Of a row's one item, (U, B),
    what it writes at TARGET.

    Args:
        table: (U, V, D). ids: (U, B) or (U, B, K).

    Returns:
        (U, *ids.shape[1:], D).
    """
    if ids.dim() == 2 and Site.TARGET in sites:
        return sites[Site.TARGET]
    written = sites.get(Site.ITEM)
    if written is None or batch.members is None:
        return lookup(table, ids)
    place = member_rows(batch.members.ids, table.shape[1], ids)
    return torch.where((place > 0).unsqueeze(-1), lookup(pad(written, (0, 0, 1, 0)), place), lookup(table, ids))


def every_item(table: Tensor, sites: Mapping[Site, Tensor], batch: Batch) -> Tensor:
    """(U, V, D): likewise of all items."""
    if Site.ITEM not in sites:
        return table
    every = torch.arange(table.shape[1], device=table.device).view(1, 1, -1)
    return item_rows(table, every, sites, batch).squeeze(1)


def member_rows(members: Tensor, items: int, ids: Tensor) -> Tensor:
    """Which of a unit's own some items are, from 1; 0: none of them. Padding is none.

    Args:
        members: (U, I). items: V. ids: (U, ...).
    """
    numbers = torch.arange(1, members.shape[1] + 1, device=members.device).expand_as(members)
    none = torch.zeros(len(members), items, dtype=torch.int64, device=members.device)
    return lookup(none.scatter_(1, members, numbers * (members > 0)), ids)


def target_of(batch: Batch) -> Tensor:
    """(U, B): the item that each row is about."""
    columns = batch.columns
    return columns["target"].amax(-1) if "target" in columns else columns[ITEM]


class Events(NamedTuple):
    """Some events of items, (U, I, K) each, zeros where there are fewer; `real`: which there are. The others as in `Feedback`."""

    users: Tensor
    times: Tensor
    values: Tensor
    stays: Tensor
    real: Tensor


def clocks(feedback: Feedback) -> bool:
    """Whether the data have times: an item's events are in time order, so that the last of each tells."""
    start, time = torch.as_tensor(feedback.start), torch.as_tensor(feedback.time)
    return bool(lookup(time, (start[:, 1:] - 1).clamp(min=0)).any())


def latest(feedback: Feedback, ids: Tensor, most: int) -> Events:
    """The latest events of some items, the last one first.

    Args:
        feedback: of all items, as tensors. ids: (U, I). most: K, events that are kept of an item.
    """
    columns = (feedback.user, feedback.time, feedback.value, feedback.stay)
    starts, users, times, values, stays = (torch.as_tensor(t) for t in (feedback.start, *columns))
    first, last = lookup(starts, ids).unsqueeze(-1), lookup(starts, ids + 1).unsqueeze(-1)
    place = last - 1 - torch.arange(most, device=ids.device)
    real = place >= first
    place = place.clamp(min=0)
    users, times, values, stays = (lookup(t, place) * real for t in (users, times, values, stays))
    return Events(users, times, values.nan_to_num(), stays.nan_to_num(), real)


def similar_popular(vectors: Tensor, batch: Batch, ids: Tensor, share: float) -> Tensor:
    """(U, N): the popular item most similar to each by Tanimoto's coefficient (PROMO, Eq. 5), none of the unit's own.

    Args:
        vectors: (U, V, D) of all items. share: of the items that were taken, by how often, that are popular.
    """
    assert batch.items is not None and batch.items.count is not None and batch.members is not None
    own = member_rows(batch.members.ids, vectors.shape[1], batch.items.ids) > 0
    count = batch.items.count * ~own  # (U, V)
    most = [max(1, math.ceil(share * taken)) for taken in (count > 0).sum(1).tolist()]  # of each lane
    popular = count.argsort(dim=1, descending=True, stable=True)[:, : max(most)]
    ours, theirs = lookup(vectors, ids), lookup(vectors, popular)
    dot = ours @ theirs.transpose(1, 2)  # (U, N, P)
    squares = ours.square().sum(-1).unsqueeze(2) + theirs.square().sum(-1).unsqueeze(1)
    similar = dot / (squares - dot).clamp(min=1e-12)
    further = torch.arange(max(most), device=ids.device) >= torch.tensor(most, device=ids.device).view(-1, 1, 1)
    nearest = similar.masked_fill(further, -torch.inf).argmax(-1)
    return torch.take_along_dim(popular.expand(len(nearest), -1), nearest, dim=1)


def lenders(vectors: Tensor, batch: Batch, ids: Tensor, recent: int, least: int, share: float) -> Tensor:
    """(U, N): the item that lends its events to each (`similar_popular`); 0: it has enough, or it is padding.

    Args:
        recent: as of `latest`. least: an item with fewer of these borrows.
    """
    assert batch.members is not None and batch.members.feedback is not None
    few = (latest(batch.members.feedback, ids, recent).real.sum(2) < least) & (ids > 0)
    return similar_popular(vectors, batch, ids, share) * few if few.any() else torch.zeros_like(ids)
