"""The shipped quickstart, as a new user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import cli
from tests.pages import block


@pytest.mark.slow
def test_the_quickstarts_known_order_of_methods_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs" / "quickstart"
    try:
        assert cli.main(["run", "quickstart"]) == 0
    finally:
        ray.shutdown()
    results = json.loads((out / "results.json").read_text())
    mean = {name: row["mean"]["auc"]["mean"] for name, row in results["methods"].items()}
    assert max(mean["logistic"], mean["single"]) < mean["shared"] < min(mean["plate"], mean["finetune_all"])
    by = {c["baseline"]: c for c in results["comparisons"] if c["unit"] == "mean"}
    assert all(by[name]["low"] > 0 for name in ("logistic", "single", "shared"))
    assert results["methods"]["plate"]["tuned_parameters"] < 0.3 * results["methods"]["finetune_all"]["tuned_parameters"]
    assert len(list((out / "artifacts").iterdir())) == 12
    shown = capsys.readouterr().out
    assert "what packs saved: 1,152 trials took" in " ".join(shown.split())
    assert "plate" in shown and (out / "report" / "index.html").as_uri() in shown
    names: dict[str, Any] = {}
    exec(block("python", 'load_prompt("runs/quickstart'), names)
    assert names["scores"].shape == (2,) and names["scores"].unknown["user"].tolist() == [False, True]
    assert cli.main(["run", "quickstart", "--set", "training.patience=9"]) == 2
    assert "training.patience was 3" in capsys.readouterr().err
