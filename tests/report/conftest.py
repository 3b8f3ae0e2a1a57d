"""An invented run folder: every number known, all optional files there."""

import json
from pathlib import Path

import numpy as np
import pytest

from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions
from raytune_rec.evaluation.measures.tested import RowsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.report.page.render import build
from raytune_rec.report.tables import frames

UNITS = {"music": 700, "book": 800, "movie": 900}
ROWS = {  # strategy, prompt, backbone, skill, tuned parameters
    "linear": ("single", "none", "linear", 0.99, 900),
    "single": ("single", "none", "deepfm", 0.9, 20_000),
    "pretrained": ("pretrained", "none", "deepfm", 0.85, 0),
    "finetune_all": ("finetune_all", "none", "deepfm", 0.93, 20_000),
    "soft_prompt": ("prompt", "soft", "deepfm", 0.95, 110),
    "soft_prompt_linear": ("prompt_linear", "soft", "deepfm", 1.06, 1_010),
}
CLAIMS = ["soft_prompt", "soft_prompt_linear"]
BASELINES = ["linear", "single", "pretrained", "finetune_all"]
TRIALS = 16
JOB = 'name = "invented"\ntitle = "An invented <run> & its report"\n[tune]\ntrials = 16\n'


def _trials(g: np.random.Generator) -> list[dict]:
    found = []
    for row, (_, prompt, _, skill, tuned) in ROWS.items():
        for unit in UNITS:
            for n in range(TRIALS if tuned else 1):
                options: dict = {
                    "training.lr.linear": float(10 ** g.uniform(-4, -1)),
                    "training.weight_decay.linear": float(10 ** g.uniform(-7, -3)),
                }
                options["training.lr.default"] = float(10 ** g.uniform(-4, -1))
                options["backbone.dropout"] = float(g.uniform(0, 0.5))
                if prompt != "none":
                    options |= {
                        "prompt.tokens": int(g.integers(2, 25)),
                        "prompt.heat": float(10 ** g.uniform(-2, 1)),
                        "prompt.kind": "ab"[n % 2],
                    }
                fit = 0.7 + 0.05 * skill - 0.004 * abs(np.log10(options["training.lr.linear"]) + 2) + 0.002 * g.normal()
                epochs = int(g.integers(6, 13))
                curve = [
                    0.5 + (fit - 0.5) * (1 - np.exp(-1.2 * e)) - 0.0004 * max(0, e - epochs + 3) ** 2 for e in range(epochs + 1)
                ]
                best = int(np.argmax(curve))
                found.append({
                    "study": f"{row}@{unit}", "method": row, "unit": unit, "number": n, "state": "complete", "value": curve[best],
                    "options": options, "best_epoch": best, "epochs": epochs, "curve": curve,
                    "losses": [0.7 * 0.97**e for e in range(epochs)], "seconds": 0.3 + tuned / 2e4, "parameters": tuned,
                })  # fmt: skip
    found[5] |= {"state": "failed", "value": None, "curve": [0.5, None], "losses": [None]}
    found[6] |= {"state": "pruned"}
    return found


@pytest.fixture(scope="session")
def content() -> dict:
    """`results.json` of the invented run, and its trials."""
    g = np.random.default_rng(3)
    trials = _trials(g)
    labels = {u: (g.random(n) < 0.7).astype(np.float32) for u, n in UNITS.items()}
    common = {u: 1.1 * g.normal(size=n) for u, n in UNITS.items()}
    predictions = []
    for row, (_, _, _, skill, tuned) in ROWS.items():
        for u, n in UNITS.items():
            own = 0.25 * g.normal(size=n)
            scores = skill * labels[u] + common[u] + own + (0.04 * g.normal(size=(5, n)) if tuned else np.zeros((1, n)))
            predictions.append(Predictions(row, u, scores.astype(np.float32)))
    facts = []
    for row, (strategy, prompt, backbone, _, tuned) in ROWS.items():
        best = {
            u: max((t for t in trials if (t["method"], t["unit"]) == (row, u) and t["value"]), key=lambda t: t["value"])
            for u in UNITS
        }
        facts.append(MethodFacts(
            row, strategy, prompt, backbone, "prompted" if prompt != "none" else "", row in BASELINES,
            TRIALS * 3 if tuned else 0, tuned, 20_000,
            sum(t["seconds"] for t in trials if t["method"] == row), {u: t["value"] for u, t in best.items()},
            {u: t["options"] for u, t in best.items()}, {u: t["number"] for u, t in best.items()},
        ))  # fmt: skip
    results = summarise(
        facts, RowsTested(predictions, labels, {u: g.integers(0, n // 6, n) for u, n in UNITS.items()}), CLAIMS, BASELINES,
        {"metric": "auc", "split": "test, by hash of seed 0"}, bootstrap=500,
        cohorts={u: {"cold": np.arange(n) % 4 == 0} for u, n in UNITS.items()},
        provenance={
            "versions": {"torch": "2.x", "ray": "2.y"}, "seed": 0, "data": "f00d",
        },
    )  # fmt: skip
    return {"results": results, "trials": trials}


@pytest.fixture
def folder(content: dict, tmp_path: Path) -> Path:
    """The whole run folder, to be changed at will."""
    return write(content, tmp_path / "run")


@pytest.fixture(scope="session")
def page(content: dict, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the whole run folder."""
    return build(write(content, tmp_path_factory.mktemp("page"))).read_text(encoding="utf-8")


def write(content: dict, run: Path) -> Path:
    """JSON keys sorted, as the store writes them, and the CSV."""
    (run / "backbones" / "abc").mkdir(parents=True)
    (run / "data").mkdir()
    title = {"covered": 1.0, "perplexity": 12.5, "divergence": None, "entropy": 2.0, "ambiguity": 0.1, "length": 3.0}
    curve = [0.5, 0.68, 0.72, 0.735, 0.741, 0.742]
    variant = {
        "curve": curve, "losses": [0.69, 0.6, 0.55, 0.53, 0.52], "seconds": 41.5, "rows_per_second": 92_000.0,
        "parameters": 20_000,
        "recipe": {"training.lr.default": 1e-3}, "trials": 4,
    }  # fmt: skip
    files = {
        "run.json": {"raytune_rec": "0", "started_in": "/some where", "folder": "/some where/runs/invented"},
        "results.json": content["results"],
        "trials.json": content["trials"],
        "pretrain.json": {"prompted": variant, "plain": variant | {"curve": [v - 0.004 for v in curve]}},
        "data/summary.json": {"item_texts": {"found": {"title": {"music": title}}, "pretrain": ["title"], "tune": ["title"]}},
        "backbones/abc/backbone.json": {"format": 1, "fingerprint": "abc", "name": "deepfm", "parameters": {"secret.tensor": {}}},
    }
    for name, value in files.items():
        (run / name).write_text(json.dumps(value, sort_keys=True))
    (run / "job.toml").write_text(JOB)
    frames.write(run)
    return run
