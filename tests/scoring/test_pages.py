"""What the page on serving shows of recommendations, on a small MovieLens-1M."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import components, config
from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.stored.store import Store
from raytune_rec.job import shipped
from tests.pages import block
from tests.scoring.conftest import export


def test_recommendations_as_the_page_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, films = random.Random(1), [1193, 661, 914, *range(1, 38)]
    users = {u: draw.sample(films, 14) for u in range(6001, 6041)}
    ratings = [f"{u}::{i}::4::{100 * n + u}" for u, taken in users.items() for n, i in enumerate(taken)]
    (tmp_path / "ratings.dat").write_text("\n".join(ratings) + "\n")
    (tmp_path / "users.dat").write_text("".join(f"{u}::{'FM'[u % 2]}::25::{u % 20}::{u}8067\n" for u in users))
    (tmp_path / "movies.dat").write_text("".join(f"{i}::Film {i} (1980)::Drama\n" for i in films))
    data = config.read(shipped.job_path("ppr_ml1m"), [f"data.options.path={tmp_path}", "data.sequences.negatives=9"]).data
    options = components.options_of("data.sources", data.source, data.options)
    prepare(data, components.component("data.sources", data.source)(options), tmp_path / "data")
    artifact, backbone = export(Store.open(tmp_path / "data"), "few.1", tmp_path / "made")
    run = tmp_path / "runs" / "ppr_ml1m"
    shutil.copytree(artifact, run / "artifacts" / "few.1")
    shutil.copytree(backbone, run / "backbones" / prompt_artifact.read(artifact).backbone_fingerprint)
    monkeypatch.chdir(tmp_path)
    lines = block("python", 'load_prompt("runs/ppr_ml1m').splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(lines[:-2]), names)
    best, scores = (eval(line.partition("#")[0], names) for line in lines[-2:])
    assert len(best) == 1 and len(best[0]) == 10 and not {"1193", "661"} & {item for item, _ in best[0]}
    values = [score for _, score in best[0]]
    assert values == sorted(values, reverse=True) and np.isfinite(np.asarray(scores)).all() and scores.shape == (1,)
