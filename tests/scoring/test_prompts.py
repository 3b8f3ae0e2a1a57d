"""A backbone that takes prompts by name: loaded once, shared, and answering for whom no prompt serves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.schema.prepared import Table
from raytune_rec.scoring import Scorer, load_backbone, load_prompt, load_prompts
from raytune_rec.scoring.prompts import artifacts_of
from raytune_rec.scoring.tuned import scoring_model, whole
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import parts_of
from tests.scoring import made
from tests.scoring.conftest import log


@pytest.fixture(scope="module")
def store(make: Callable[..., Store]) -> Store:
    return make(log(("shop", "club")), split={"kind": "hash", "valid": 0.1, "test": 0.1})


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made.run(store, tmp_path_factory.mktemp("run"), ("shop", "club"))


ROWS = {
    "user": ["u1", "u2", "u3", "u4", "new", "u5"],
    "item": ["i1", "i2", "i3", "nothing", "i5", "i6"],
    "domain": ["shop", "club", "shop", "club", "shop", "mall"],
}


def only(domain: str) -> dict[str, list[str]]:
    return {name: [v for v, d in zip(values, ROWS["domain"], strict=True) if d == domain] for name, values in ROWS.items()}


def test_a_mixed_batch_is_answered_as_each_prompt_and_the_backbone_alone_would(store: Store, run: tuple[Path, Path]) -> None:
    backbone, artifacts = run
    served = load_backbone(backbone)
    plain = served.score({**ROWS, "domain": ["mall"] * 6})
    assert plain.unknown["domain"].all()
    served.add("shop", artifacts / "shop")
    served.add("club", artifacts / "club")
    scores, whose = served.score(ROWS), np.array(ROWS["domain"])
    for name in ("shop", "club"):
        alone = load_prompt(artifacts / name, backbone).score(only(name))
        np.testing.assert_allclose(scores[whose == name], alone, rtol=1e-6)
        assert not np.allclose(scores[whose == name], plain[whose == name])
    # whole tables in float64, as nobody serves them
    facts, start = backbone_artifact.load(backbone)
    options = {owner: list(of) for owner, of in made.parts(store).options.items()}
    parts = parts_of("deepfm", "plate", ALIASES["prompt_untuned"], options, store.schema, facts)
    oracle = Scorer(scoring_model(parts, [{}], start), store)
    expected = oracle.logits(Table(store.encode({**ROWS, "domain": ["shop"] * 5 + ["mall"]}), np.zeros(6, np.float32)))
    np.testing.assert_allclose(scores[5], 1 / (1 + np.exp(-expected[5])), rtol=1e-6)
    marks = {name: mask.tolist() for name, mask in scores.unknown.items()}
    assert marks["domain"] == [False] * 5 + [True]
    assert marks["user"] == [False] * 4 + [True, False] and marks["item"][3]
    assert served.score(pd.DataFrame(ROWS)).tolist() == scores.tolist()
    served.remove("club")
    assert served.names == ("shop",)
    after = served.score(ROWS)
    np.testing.assert_allclose(after[whose == "shop"], scores[whose == "shop"], rtol=1e-6)
    assert after.unknown["domain"].tolist() == (whose != "shop").tolist()


def test_rows_of_tables_that_a_prompt_tuned_equal_whole_tables(store: Store, run: tuple[Path, Path]) -> None:
    """The way without whole tables against the one with them, on every row of the log, domain ids and lists of none included."""
    backbone, artifacts = run
    facts, start = backbone_artifact.load(backbone)
    table = store.load("club", "train")
    for name in ("shop", "club"):
        own, tensors = prompt_artifact.load(artifacts / name, facts.fingerprint)
        parts = made.parts(store, own.prompt_options["meta_prompts"])
        assert any(len(full) > len(tensors[n]) for n, full in whole(tensors, start, parts.declared()).items() if n in tensors)
        expected = Scorer(scoring_model(parts, [tensors], start)).logits(table)
        np.testing.assert_allclose(load_prompt(artifacts / name).logits(table), expected, rtol=1e-5, atol=1e-6)


def test_a_prompt_may_be_called_otherwise_and_rows_may_name_it_apart(run: tuple[Path, Path]) -> None:
    backbone, artifacts = run
    served = load_backbone(backbone)
    served.add("shop-b", artifacts / "shop")
    served.add("club", artifacts / "club")
    rows = {"user": ["u1", "u1"], "item": ["i1", "i1"]}
    expected = load_prompt(artifacts / "shop").score({"user": ["u1"], "item": ["i1"]})[0]
    assert served.score({**rows, "domain": ["shop-b", "club"]})[0] == pytest.approx(expected, rel=1e-6)
    assert served.score({**rows, "unit": ["shop-b", "club"]})[0] == pytest.approx(expected, rel=1e-6)
    found = served.score({**rows, "unit": ["nobody", "shop-b"], "domain": ["club", "shop"]})
    assert found.unknown["unit"].tolist() == [True, False]
    with pytest.raises(
        DataError, match=r"column domain: no loaded prompt serves 1 of 2 rows \(rows 1\); add a prompt of this name"
    ):
        served.score({**rows, "domain": ["club", "shop"]}, unknown="raise")
    served.add("shop", artifacts / "shop")  # the remedy
    assert len(served.score({**rows, "domain": ["club", "shop"]}, unknown="raise")) == 2
    with pytest.raises(DataError, match=r"no column unit or domain; name the unit of each row, one of shop-b, club, shop\.$"):
        served.score(rows)


def test_a_feature_called_unit_stays_one_and_rows_name_their_prompt_by_domain(make: Callable[..., Store], tmp_path: Path) -> None:
    lines = [line.replace("colour", "unit") for line in log(("shop", "club"))]
    store = make(
        lines, features={"unit": {"role": "user"}, "colour": {"role": "user", "column": "age"}},
        split={"kind": "hash", "valid": 0.1, "test": 0.1},
    )  # fmt: skip
    backbone, artifacts = made.run(store, tmp_path, ("shop", "club"))
    served, rows = load_backbone(backbone), {"user": ["u1", "u1"], "item": ["i1", "i1"], "unit": ["c3", "c2"]}
    for name in ("shop", "club"):
        served.add(name, artifacts / name)
    scores = served.score({**rows, "domain": ["shop", "club"]}, unknown="raise")
    for i, name in enumerate(("shop", "club")):
        alone = load_prompt(artifacts / name, backbone).score({column: values[i : i + 1] for column, values in rows.items()})
        np.testing.assert_allclose(scores[i], alone[0], rtol=1e-6)
    with pytest.raises(DataError, match=r"there is no column domain; name the unit of each row, one of shop, club\.$"):
        served.score(rows)


def test_a_backbone_is_held_once_and_a_prompt_takes_the_room_of_its_file(
    store: Store, run: tuple[Path, Path], tmp_path: Path
) -> None:
    backbone, artifacts = run
    one, other = load_prompt(artifacts / "shop"), load_prompts([artifacts / "club"], backbone)
    assert one.store is other.store and one.base is other.base is load_backbone(backbone).base
    base, served = backbone_artifact.read(backbone), load_backbone(backbone)
    kept, held = 20, {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in served.base.start.values()}
    for i in range(kept):
        made.prompt(store, base, tmp_path / str(i), Unit("shop", domain="shop"), i)
        served.add(f"shop {i}", tmp_path / str(i))
    rows = {"user": ["u1"] * kept, "item": ["i1"] * kept, "domain": [f"shop {i}" for i in range(kept)]}
    assert len(set(served.score(rows).tolist())) == kept
    frozen, own = set(held), dict[int, int]()
    for group in served.scorer.bank.groups:
        tensors = [*group.model.fixed.values(), *group.model.buffers.values()]
        tensors += [t for table in group.tuned.values() for t in (table.index, table.values)]
        own |= {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        shared = [n for n in group.model.fixed if n.startswith("backbone.") and not n.startswith("backbone.linear.")]
        shared += [n for n in group.tuned if n in group.model.fixed]
        assert shared and all(group.model.fixed[n].untyped_storage().data_ptr() in frozen for n in shared)
    files = sum(
        t.numel() * t.element_size() for i in range(kept) for t in prompt_artifact.load(tmp_path / str(i), None)[1].values()
    )
    added = sum(size for place, size in own.items() if place not in frozen)
    assert added <= 1.1 * files


def test_a_prompt_finds_its_backbone_beside_it_or_says_where_it_looked(run: tuple[Path, Path], tmp_path: Path) -> None:
    backbone, artifacts = run
    assert load_prompt(artifacts / "shop").base is load_backbone(backbone).base
    facts, tensors = prompt_artifact.load(artifacts / "shop", None)
    prompt_artifact.save(tmp_path / "a" / "alone", facts, tensors)
    with pytest.raises(ArtifactError, match=r"its backbone is neither .*backbones.*; copy it there, or name its folder"):
        load_prompt(tmp_path / "a" / "alone")
    assert len(load_prompt(tmp_path / "a" / "alone", backbone).score({"user": ["u1"], "item": ["i1"]})) == 1  # the remedy


def test_what_cannot_be_added_or_removed_is_refused(run: tuple[Path, Path], tmp_path: Path) -> None:
    backbone, artifacts = run
    served = load_backbone(backbone)
    served.add("shop", artifacts / "shop")
    with pytest.raises(ArtifactError, match=r"there is a prompt 'shop' already; remove it first"):
        served.add("shop", artifacts / "club")
    served.remove("shop")  # the remedy
    served.add("shop", artifacts / "club")
    with pytest.raises(ArtifactError, match=r"there is no prompt 'x'; there are shop"):
        served.remove("x")
    with pytest.raises(ArtifactError, match=r"text without blanks"):
        served.add(" shop", artifacts / "shop")
    facts, tensors = prompt_artifact.load(artifacts / "shop", None)
    prompt_artifact.save(tmp_path / "foreign", replace(facts, backbone_fingerprint="0" * 16), tensors)
    with pytest.raises(ArtifactError, match=r"was tuned beside backbone 0000"):
        served.add("foreign", tmp_path / "foreign")
    tensors["rows.user"] = tensors["rows.user"].flip(0)
    prompt_artifact.save(tmp_path / "turned", facts, tensors)
    with pytest.raises(ArtifactError, match=r"'rows.user' names an id twice, or not in their order"):
        served.add("turned", tmp_path / "turned")
    assert served.names == ("shop",)


def test_two_artifacts_of_one_unit_are_refused(run: tuple[Path, Path], tmp_path: Path) -> None:
    """One of them would answer, and nobody knows which."""
    backbone, artifacts = run
    shutil.copytree(artifacts, tmp_path / "artifacts")
    shutil.copytree(backbone, tmp_path / "backbones" / prompt_artifact.read(artifacts / "shop").backbone_fingerprint)
    shutil.copytree(artifacts / "shop", tmp_path / "artifacts" / "shop_before")
    with pytest.raises(ArtifactError, match=r"shop and shop_before serve one unit, 'shop'; leave one of them there"):
        artifacts_of(tmp_path)
    shutil.rmtree(tmp_path / "artifacts" / "shop_before")  # the remedy
    assert set(artifacts_of(tmp_path)[1]) == {"shop", "club"}


def test_columns_may_have_the_names_of_the_log(run: tuple[Path, Path], make: Callable[..., Store], tmp_path: Path) -> None:
    lines = [line.replace("user,item", "uid,sku").replace("colour", "farbe") if not i else line for i, line in enumerate(log())]
    named = make(
        lines,
        columns={"user": "uid", "item": "sku"},
        features={"colour": {"role": "user", "column": "farbe"}},
        split={"kind": "hash", "valid": 0.1, "test": 0.1},
    )
    backbone, artifacts = made.run(named, tmp_path, ("shop",))
    served = load_prompt(artifacts / "shop", backbone)
    ours = {"user": ["u1", "u2"], "item": ["i1", "i2"], "colour": ["c3", "c1"]}
    expected = served.score(ours)
    assert served.score({"uid": ours["user"], "sku": ours["item"], "farbe": ours["colour"]}).tolist() == expected.tolist()
    with pytest.raises(DataError, match="column user stands there twice"):
        served.score({**ours, "uid": ours["user"]})
