"""A bank of prompts over one backbone: a batch of mixed rows is scored as each prompt scores its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec import components
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.schema.prepared import Table
from raytune_rec.scoring import load_prompt, load_prompts
from raytune_rec.scoring.bank import LANE, Bank
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.parts import parts_of
from tests.scoring.conftest import drawn, log, options_of, split

COUNT = 50


@pytest.fixture(scope="module")
def saved(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """50 small artifacts over one backbone: prompts of 1 to 4 tokens, and every seventh without a profile learner."""
    folder, strategy = tmp_path_factory.mktemp("bank"), ALIASES["prompt"]
    own, paths = options_of("sasrec"), []
    for i in range(COUNT):
        values = {"tokens": 1 + i % 4, "hidden_width": 4, "learner": bool(i % 7)}
        prompt = components.options_of("prompts", "ppr", values)
        parts = parts_of("sasrec", "ppr", strategy, {"backbone": [own["backbone"]], "prompt": [prompt]}, store.schema)
        tuned, start = split(drawn(parts, i))
        if not i:
            plain = own["backbone"].model_dump(mode="json")
            facts = {"metric": "ndcg@10", "parameters": weights.facts(start)}
            base = backbone_artifact.save(
                folder / "backbone",
                backbone_artifact.BackboneFacts(
                    name="sasrec", options=plain, data_fingerprint=store.schema.fingerprint, **facts
                ),
                start, store.path,
            )  # fmt: skip
        prompt_artifact.save(
            folder / f"few.{i + 1}",
            PromptFacts(
                unit=Unit.of_fold("few", i + 1), method="light",
                strategy=StrategyFacts(
                    name=strategy.name, start=strategy.start, train=strategy.train, prompt=strategy.prompt
                ),
                prompt="ppr", prompt_options=prompt.model_dump(mode="json"), backbone="sasrec", backbone_options=plain,
                backbone_fingerprint=base.fingerprint, data_fingerprint=store.schema.fingerprint,
                parameters=weights.facts(tuned), tuned_parameters=1, trial=0,
            ),
            tuned,
        )  # fmt: skip
        paths.append(folder / f"few.{i + 1}")
    return paths, folder / "backbone"


def raw_rows(count: int, units: int) -> dict[str, list[Any]]:
    draw = np.random.default_rng(4)
    lengths = draw.integers(0, 6, count)
    return {
        "unit": [f"few.{1 + min(u, units - 1)}" for u in draw.geometric(0.06, count)],  # some have many rows, some none
        "history": [[f"i{i}" for i in draw.permutation(30)[:n]] for n in lengths],
        "item": [f"i{i}" for i in draw.integers(0, 30, count)],
        "colour": [f"c{c}" for c in draw.integers(0, 4, count)],
        "age": [str(a) for a in draw.integers(20, 60, count)],
    }


def of_unit(rows: dict[str, list[Any]], unit: str) -> dict[str, list[Any]]:
    kept = [i for i, name in enumerate(rows["unit"]) if name == unit]
    return {name: [values[i] for i in kept] for name, values in rows.items() if name != "unit"}


def test_a_mixed_batch_equals_fifty_single_scorings(saved: tuple[list[Path], Path]) -> None:
    paths, backbone = saved
    bank, rows = load_prompts(paths, backbone), raw_rows(300, COUNT)
    assert len(bank.bank.models) == 2 and sum(model.lanes for model in bank.bank.models) == COUNT
    assert all(len(t) == 1 for model in bank.bank.models for n, t in model.fixed.items() if n.startswith("backbone."))
    scores, best = bank.score(rows), bank.recommend({n: v for n, v in rows.items() if n != "item"}, k=3)
    whose = np.array(rows["unit"])
    for path in paths:
        single, mine = load_prompt(path, backbone), of_unit(rows, path.name)
        if mine["item"]:
            np.testing.assert_allclose(scores[whose == path.name], single.score(mine), rtol=1e-6)
            alone = single.recommend({n: v for n, v in mine.items() if n != "item"}, k=3)
            together = [best[i] for i in np.flatnonzero(whose == path.name)]
            assert [[item for item, _ in row] for row in together] == [[item for item, _ in row] for row in alone]


def test_rows_with_labels_and_tables_of_their_own(make: Callable[..., Store]) -> None:
    """Fusion prompts and linear tables that each unit tuned, whatever the order and the number of rows of a pass."""
    store = make(log(("shop", "club")), split={"kind": "hash", "valid": 0.1, "test": 0.1})
    values = {"backbone": ("backbones", "deepfm", {"width": 4, "hidden": [4]})}
    models, base = [], {}
    for i in range(COUNT):
        of = values | {"prompt": ("prompts", "plate", {"meta_prompts": 2 + i % 5, "temperature": 0.5})}
        options: Any = {owner: [components.options_of(*each)] for owner, each in of.items()}  # type: ignore[arg-type]
        parts = parts_of("deepfm", "plate", ALIASES["prompt_linear"], options, store.schema)
        tuned, start = split(drawn(parts, i))
        base = base or start
        linear = {n: t for n, t in start.items() if n.startswith("backbone.linear.")}
        models.append(scoring_model(parts, [tuned | linear], base))
    bank = Bank.of(models, [Unit(f"unit {i}") for i in range(COUNT)])
    assert len(bank.models) == 1 and len(bank.models[0].fixed["backbone.embedding.user"]) == 1
    table = store.load("shop", "train")
    lane = np.random.default_rng(1).integers(0, COUNT, len(table))
    for size in (16384, 64):
        mixed = Scorer(bank, batch_size=size).logits(Table({**table.columns, LANE: lane}, table.label))
        for i, model in enumerate(models):
            mine = Table({n: c[lane == i] for n, c in table.columns.items()}, table.label[lane == i])
            np.testing.assert_allclose(mixed[lane == i], Scorer(model).logits(mine), rtol=1e-6, atol=1e-6)


def test_each_row_is_in_one_pass_beside_rows_of_its_prompt_and_little_of_a_pass_is_empty(
    saved: tuple[list[Path], Path],
) -> None:
    bank = load_prompts(saved[0], saved[1]).bank
    lane = np.random.default_rng(2).geometric(0.06, 20_000) - 1
    lane = np.append(lane[lane < COUNT], np.full(3_000, COUNT - 1))  # several have thousands of rows, some a few
    met = np.zeros(len(lane), np.int64)
    for part, rows in bank.passes(lane, 4_096):
        grid = rows.numpy()
        assert len(grid) == part.model.lanes and grid.size < 4_096 + len(grid) and (grid < 0).sum() <= 1_024
        for line in grid:
            assert len(set(lane[line[line >= 0]])) <= 1
        np.add.at(met, grid[grid >= 0], 1)
    assert (met == 1).all()


def test_a_bank_says_what_it_serves(saved: tuple[list[Path], Path]) -> None:
    paths, backbone = saved
    bank, rows = load_prompts(paths[:3], backbone), raw_rows(4, 3)
    without = {n: v for n, v in rows.items() if n != "unit"}
    with pytest.raises(DataError, match=r"no column unit; name the unit of each row, one of few\.1, few\.2, few\.3"):
        bank.score(without)
    with pytest.raises(DataError) as refused:
        bank.score({**rows, "unit": ["few.1", "few.9", None, "few.9"]})
    assert [p[:30] for p in refused.value.problems] == ["unit: rows 1, 3 name 'few.9', ", "unit: rows 2 name 'None', whic"]
    assert len(bank.score({**rows, "unit": ["few.1", "few.2", "few.3", "few.1"]})) == 4  # the remedy
    assert load_prompts(paths[:1], backbone).score(without).shape == (4,)


def test_prompts_that_cannot_serve_together_are_refused_at_once(saved: tuple[list[Path], Path], tmp_path: Path) -> None:
    paths, backbone = saved
    with pytest.raises(ArtifactError, match=r"'few\.1' is served by more than one of the prompts; name one for each unit"):
        load_prompts([paths[0], paths[1], paths[0]], backbone)
    assert len(load_prompts(paths[:2], backbone).bank.units) == 2  # the remedy
    with pytest.raises(ArtifactError) as refused:
        load_prompts([tmp_path / "a", paths[0], tmp_path / "b"], backbone)
    assert {str(tmp_path / name) in str(refused.value) for name in "ab"} == {True}
    with pytest.raises(ArtifactError, match="there is no prompt; name the folder of one or more"):
        load_prompts([], backbone)
    assert len(load_prompts(paths[:1], backbone).bank.units) == 1


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (Unit("../../etc/passwd", "fold", task="few", number=1), "a fold of cold users is called by its task and its number"),
        (Unit("few.-5", "fold", task="few", number=-5), "a fold of cold users is called by its task and its number"),
        (Unit("nonsense.1", "fold", task="nonsense", number=1), "nobody asks 'nonsense' of cold users"),
        (Unit("shop", "domain", domain="mall"), "which is no domain of its backbone's data|bears its name"),
        (Unit("other", "domain", domain="shop"), r"a unit that is a domain bears its name \('shop'\)"),
        (Unit("cold.1", "items", domain="shop"), "has a domain, and items, each once"),
        (Unit("cold.1", "items", domain="shop", members=(3, 2)), "has a domain, and items, each once"),
        (Unit("cold.1", "items", domain="shop", members=(3, 99)), "a group of items that its backbone's data do not know"),
    ],
)
def test_an_artifact_of_a_unit_that_cannot_be_is_refused(
    saved: tuple[list[Path], Path], tmp_path: Path, unit: Unit, says: str
) -> None:
    facts, tensors = prompt_artifact.load(saved[0][0], None)
    prompt_artifact.save(tmp_path / "other", replace(facts, unit=unit), tensors)
    with pytest.raises(ArtifactError, match=says):
        load_prompt(tmp_path / "other", saved[1])


@pytest.mark.parametrize("change", ["a tensor less", "a tensor more", "rows of ids that are too large"])
def test_tensors_that_are_not_the_components_are_refused(saved: tuple[list[Path], Path], tmp_path: Path, change: str) -> None:
    """Weights and facts agree, so that nothing but the model tells."""
    facts, tensors = prompt_artifact.load(saved[0][0], None)
    name = "prompt.of.colour"
    if change == "a tensor less":
        del tensors[name]
    elif change == "a tensor more":
        tensors["prompt.further"] = torch.ones(3)
    rows = {name: "colour"} if "rows" in change else {}
    if rows:
        tensors["rows.colour"] = torch.arange(len(tensors[name])) + 900
    made = replace(facts, parameters=weights.facts(tensors, {n: f.group for n, f in facts.parameters.items()}, rows))
    prompt_artifact.save(tmp_path / "other", made, tensors)
    says = {"a tensor less": f"the tensor '{name}' is missing", "a tensor more": "'prompt.further' belongs to neither"}
    with pytest.raises(ArtifactError, match=says.get(change, r"'rows.colour' holds the id 90\d")):
        load_prompt(tmp_path / "other", saved[1])
