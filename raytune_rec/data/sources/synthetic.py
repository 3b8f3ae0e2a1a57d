"""A made-up log of three scenarios of one catalogue, with a known structure.

The log-odds of a click of user u on item i in domain s:

    base + b_u + c_i + f(age_u)                              who clicks much, what is liked: the same everywhere
    + strength * (beta_su + gamma_si)                        and by how much that differs here (beta is small, gamma large)
    + taste * (p_u + strength * tau_s,segment(u)) . q_i      what u likes, and how its segment's taste differs here

A segment is what its users have in common in p; no column tells it. So rows of other domains teach b, c, p and q (a single domain
is too small for them); a model that is the same in every domain misses most of tau; and tau is low-dimensional: one vector for
each segment, which a small network of the user's embedding can write, where a fine-tuned embedding must learn it user by user.
Hence the order of methods on the mean of domains with few rows, as in the job `quickstart`:

    a model of one domain < pre-trained on all as it is < prompt and linear part tuned

Fine-tuning everything comes out near the last of these, with five times its parameters.

Users' `interests` and `age` and items' `category` tell of p, q and f. A share of users and items is cold: they hardly occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from raytune_rec import components
from raytune_rec.data.sources.base import RawBlock, SourceField

_BLOCK = 65_536
_LATENT = 6
_TASTE_SHIFT = 2.0
"""How much larger than a user's own taste the shift of its segment's taste is."""
_INTERESTS = 8
_SEGMENTS = 4
_YEAR = 31_536_000
_START = 1_600_000_000


@dataclass(frozen=True)
class World:
    """What the log is drawn from. Shapes: S domains, U users, I items, K latent factors, G segments, C interests (item
    categories alike)."""

    user_bias: np.ndarray  # (U,) b + f(age)
    item_bias: np.ndarray  # (I,)
    user_shift: np.ndarray  # (S, U) strength * beta
    item_shift: np.ndarray  # (S, I) strength * gamma
    taste: np.ndarray  # (U, K) taste * p
    taste_shift: np.ndarray  # (S, G, K) taste * strength * tau
    item_factor: np.ndarray  # (I, K)
    segment: np.ndarray  # (U,)
    interests: np.ndarray  # (U, C) bool
    age: np.ndarray  # (U,), NaN where not told
    category: np.ndarray  # (I,)
    user_rate: np.ndarray  # (S, U) how often a user comes, sums to 1
    item_rate: np.ndarray  # (S, I) how often an item is shown, sums to 1


class Synthetic:
    """Three scenarios with shared factors, domain shifts, profiles and cold users and items."""

    shared_items = True
    rating_range = None
    formats = None
    time_unit = ""
    example: Mapping[str, Any] = {}

    class Options(components.Options):
        interactions: dict[str, Annotated[int, Field(ge=0, le=10**8)]] = Field(
            {"feed": 22_000, "search": 11_000, "banner": 7_000},
            min_length=1,
            description="rows of each domain, in the order of their ids",
        )
        users: int = Field(700, ge=10, le=10**7, description="users, in common")
        items: int = Field(300, ge=10, le=10**7, description="items, in common")
        seed: int = Field(0, ge=0, lt=2**63, description="of the made-up world and its log")
        strength: float = Field(1.0, ge=0, le=1000, description="how far the domains differ; 0: not at all")
        taste: float = Field(0.9, ge=0, le=1000, description="how much the match of user and item matters")
        cold: float = Field(0.05, ge=0, lt=1, description="share of users and of items that hardly occur")

    cut = False

    def __init__(self, options: Options) -> None:
        self._options = options
        self._names = tuple(options.interactions)

    def head(self, rows: int) -> Synthetic | None:
        """Itself, whole, where no domain has more rows: made in a moment. None where one has."""
        return self if max(self._options.interactions.values()) <= rows else None

    def fields(self) -> tuple[SourceField, ...]:
        return (
            SourceField("interests", "multi", "user", 3),
            SourceField("age", "numerical", "user"),
            SourceField("category", "categorical", "item"),
        )

    def domains(self) -> tuple[str, ...]:
        return self._names

    def read(self) -> Iterator[RawBlock]:
        for s, (name, total) in enumerate(self._options.interactions.items()):
            for start in range(0, total, _BLOCK):
                yield self._rows(s, name, start, min(_BLOCK, total - start), total)

    def users(self) -> Iterator[RawBlock]:
        world = self.world
        interests = [[f"interest-{c}" for c in np.flatnonzero(row)] for row in world.interests]
        table = pa.table(
            {
                "user": _raw("u", np.arange(self._options.users)),
                "interests": pa.array(interests, pa.list_(pa.string())),
                "age": pa.array(world.age, pa.float64(), mask=np.isnan(world.age)),
            }
        )
        yield RawBlock(table, "synthetic users", np.arange(1, len(table) + 1))

    def items(self) -> Iterator[RawBlock]:
        category = [f"category-{c}" for c in self.world.category]
        table = pa.table({"item": _raw("i", np.arange(self._options.items)), "category": pa.array(category)})
        yield RawBlock(table, "synthetic items", np.arange(1, len(table) + 1))

    def fingerprint_inputs(self) -> Mapping[str, Any]:
        return {"source": "synthetic", **self._options.model_dump(), "domains": list(self._names)}

    def truth(self, domain: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """(N,) float64: the probability from which each label is drawn; no model can rank better.

        Args:
            domain, user, item: (N,) raw ids.
        """
        places = np.array([self._names.index(name) for name in np.asarray(domain).tolist()])
        users, items = (np.array([int(raw[1:]) for raw in np.asarray(x).tolist()]) for x in (user, item))
        return self._probability(places, users, items)

    @cached_property
    def world(self) -> World:
        o = self._options
        g = np.random.default_rng([o.seed, 1])
        domains, categories = len(self._names), _INTERESTS
        segment = g.integers(_SEGMENTS, size=o.users)
        interests = np.argsort(g.random((o.users, categories)), axis=1) < g.integers(1, 4, size=(o.users, 1))
        age = np.round(g.uniform(16, 75, size=o.users))
        category = g.integers(categories, size=o.items)
        centre = g.standard_normal((categories, _LATENT))
        liked = interests @ centre / interests.sum(1, keepdims=True)
        common = 1.2 * g.standard_normal((_SEGMENTS, _LATENT))
        scale = o.taste / np.sqrt(_LATENT)
        return World(
            user_bias=0.6 * g.standard_normal(o.users) + 0.4 * np.sin((age - 16) / 59 * np.pi),
            item_bias=0.6 * g.standard_normal(o.items),
            user_shift=0.3 * o.strength * g.standard_normal((domains, o.users)),
            item_shift=0.9 * o.strength * g.standard_normal((domains, o.items)),
            taste=scale * (liked + common[segment] + 0.4 * g.standard_normal((o.users, _LATENT))),
            taste_shift=_TASTE_SHIFT * scale * o.strength * g.standard_normal((domains, _SEGMENTS, _LATENT)),
            item_factor=0.8 * centre[category] + 0.6 * g.standard_normal((o.items, _LATENT)),
            segment=segment,
            interests=interests,
            age=np.where(g.random(o.users) < 0.1, np.nan, age),
            category=category,
            user_rate=_rates(g, domains, o.users, 0.5, o.cold),
            item_rate=_rates(g, domains, o.items, 0.7, o.cold),
        )

    def _probability(self, domain: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        w = self.world
        taste = w.taste[user] + w.taste_shift[domain, w.segment[user]]
        odds = w.user_bias[user] + w.item_bias[item] + w.user_shift[domain, user] + w.item_shift[domain, item]
        odds = odds - 0.3 + (taste * w.item_factor[item]).sum(1)
        return 1 / (1 + np.exp(-odds))

    def _rows(self, s: int, name: str, start: int, count: int, total: int) -> RawBlock:
        g = np.random.default_rng([self._options.seed, 2, s, start])
        user = g.choice(self._options.users, size=count, p=self.world.user_rate[s])
        item = g.choice(self._options.items, size=count, p=self.world.item_rate[s])
        label = g.random(count) < self._probability(np.full(count, s), user, item)
        time = _START + (start + np.arange(count)) * _YEAR // total
        table = pa.table(
            {
                "domain": pa.array(np.full(count, name, object), pa.string()),
                "user": _raw("u", user),
                "item": _raw("i", item),
                "label": pa.array(label.astype(np.float64)),
                "timestamp": pa.array(time),
            }
        )
        return RawBlock(table, f"synthetic {name}", np.arange(start + 1, start + count + 1))


def _raw(letter: str, numbers: np.ndarray) -> pa.Array:
    distinct, index = np.unique(numbers, return_inverse=True)
    return pa.array([f"{letter}{n}" for n in distinct.tolist()]).take(pa.array(index))


def _rates(g: np.random.Generator, domains: int, count: int, spread: float, cold: float) -> np.ndarray:
    """(S, count) shares: log-normal, partly the same in every domain; the cold are a hundred times rarer."""
    rate = np.exp(spread * (g.standard_normal(count) + 0.7 * g.standard_normal((domains, count))))
    rate[:, g.random(count) < cold] *= 0.01
    return rate / rate.sum(1, keepdims=True)
