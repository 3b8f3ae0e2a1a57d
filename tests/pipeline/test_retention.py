"""What winners keep in mind of those who took an item, while others decline it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.retention import Asked, picture, retained, shares, table
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.scoring import load_prompts

COUNTS = [1, 3, 40]


def test_those_who_took_an_item_are_known_as_they_are_served_and_forgotten_as_others_decline_it(here: Path) -> None:
    run = here / "run"
    kept = retained(run, COUNTS, ["promo", "finetune"])
    assert [each.shape for each in kept.values()] == [(2, 4), (2, 4)]
    assert (
        all((each[:, :1] >= each[:, 1:]).all() for each in kept.values()) and (kept["promo"][:, -1] < kept["promo"][:, 0]).all()
    )

    store, (unit,) = Store.open(run / "data"), Store.open(run / "data").schema.units
    asked = Asked(store, [unit.name], COUNTS, 5, 2)
    rows = asked.samples(unit.name).columns
    served = load_prompts([run / "artifacts" / unit.name], backbone_artifact.of_run(run)["plain"])
    names, users = store.lookup.catalogue[0], ["", *store.vocabulary("user")["raw"].to_pylist()]
    log = pd.read_csv(here / "taken.csv").query("item in @names")
    took = {(u, i) for u, i in zip(log["user"], log["item"], strict=True)}
    known = 0
    for user, history, candidates in zip(rows["user"], rows["history"], rows["candidates"], strict=True):
        assert [(users[user], names[item]) in took for item in candidates] == [True] + 5 * [False]
        past, items = names[history[history > 0]].tolist(), names[candidates].tolist()
        raw = {"user": [users[user]] * 6, "history": [past] * 6, "item": items}
        scores = np.asarray(served.score(raw))
        known += bool((scores[1:] < scores[0]).all())
    assert known in kept["promo"][:, 0], "the artifact is one of the replicates"

    declined, stage = asked.declined(unit.name)
    items = declined.columns["target"].max(1)
    assert not declined.label.any() and set(items.tolist()) == set(rows["candidates"][:, 0].tolist())
    pairs = zip(declined.columns["user"], items, strict=True)
    assert not any((users[user], names[item]) in took for user, item in pairs)
    for item in set(items.tolist()):
        assert [int((stage[items == item] <= n).sum()) for n in (1, 2, 3)] == COUNTS
    assert ((declined.columns["target"] > 0).sum(1) == 1).all()
    length = (declined.columns["history"] > 0).sum(1)
    assert (declined.columns["target"][np.arange(len(items)), length] == items).all(), "behind what the user took before"

    of_promo = shares(kept)["promo"]
    assert f"{of_promo[:, -1].mean():.3f}" in table(kept, COUNTS).columns[-1]._cells[0]
    (axes,) = picture(kept, COUNTS).axes
    assert list(axes.lines[0].get_ydata()) == of_promo.mean(0).tolist()


def test_at_one_rate_it_is_the_rate_that_decides(here: Path) -> None:
    """A rate that moves nothing forgets nothing, whatever the winners' own rates are."""
    still, quick = (retained(here / "run", COUNTS, ["promo", "finetune"], rate) for rate in (1e-12, 0.02))
    assert all((each == each[:, :1]).all() for each in still.values())
    assert all(quick[method][:, -1].sum() < still[method][:, -1].sum() for method in still)


def test_best_users_are_those_of_most_worth(here: Path) -> None:
    """Ten of each item at most; here all of them have the same worth and each item has four."""
    store = Store.open(here / "run" / "data")
    (unit,) = store.schema.units
    taken = store.load(unit, "train").columns["target"].max(1)
    rows = Asked(store, [unit.name], COUNTS, 5, 2).rows[unit.name]
    assert sorted(taken[rows].tolist()) == sorted(taken.tolist()), "all of them, where there are fewer than ten"


def test_methods_that_train_nothing_and_runs_without_cold_items_are_refused(here: Path) -> None:
    with pytest.raises(
        ArtifactError, match="--methods popularity: without winners that train something; there are finetune, prom"
    ):
        retained(here / "run", COUNTS, ["popularity"])
    assert list(retained(here / "run", [1], ["finetune"])) == ["finetune"]
