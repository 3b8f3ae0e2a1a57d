"""The report of predicted classes: a table of its own, and no word of rankings or AUC."""

import io
import json
import re
from pathlib import Path

from rich.console import Console

from raytune_rec.report.page.render import build
from raytune_rec.report.tables.terminal import console
from tests.evaluation.test_class_results import SKILL, outcome, results


def said(results: dict) -> str:
    shown = io.StringIO()
    Console(file=shown, width=120).print(console(results))
    return shown.getvalue()


def test_page_and_terminal_hold_the_metrics_of_classes(tmp_path: Path) -> None:
    found = results([outcome(row) for row in SKILL])
    (tmp_path / "results.json").write_text(json.dumps(found))
    (tmp_path / "job.toml").write_text('name = "profiles"\n[training]\nmetric = "hit@1"\n')
    page, terminal = build(tmp_path).read_text(encoding="utf-8"), said(found)
    assert "<h3>Prediction of gender</h3>" in page and "Prediction of gender" in terminal and "Test accuracy" in terminal
    names = ["accuracy", *(f"{rare}{n}" for rare in ("", "rare.") for n in ("precision", "recall", "f1"))]
    for row in SKILL:
        values = [f"{found['methods'][row]['units']['gender'][n]['mean']:.4f}" for n in names]
        own, *others = values  # accuracy stands in the first table, and so in no other
        assert re.search(rf"│ {row} +│ +{own} ", terminal) and all(page.count(f">{v}<") > 0 for v in values)
        assert re.search(rf"{row} +{' +'.join(others)}", terminal) and f"{own} {others[0]}" not in terminal
    assert "test users: 400 in gender" in page and "By accuracy, light is" in page and "F1 of the rarer" in page
    assert not re.search(r"\bAUC\b|ranking|\b(nan|None)\b", page)


def test_of_more_than_two_classes_none_is_the_rarer() -> None:
    assert "of the rarer" in said(results([outcome("light")])) and "rarer" not in said(results([outcome("light", 5)]))
