"""A prompt method of the user's own: one file in a folder that the job names, trained like ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import block
from tests.training.conftest import Make, job


def test_the_docs_method_trains_in_packs_without_an_edit_anywhere(make: Make, tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "nudge.py").write_text(block("python", "class Nudge"))
    own = job(components=[str(tmp_path)], pretrainings={"nudge": {"prompt": "nudge"}}, methods={})
    lanes = [{"prompt.scale": scale, "training.lr.prompt": 0.03, "trial": i} for i, scale in enumerate((0.5, 4.0))]
    packed = make("pretrain.nudge", lanes, of=own)
    packed.run()
    for i, lane in enumerate(lanes):
        solo = make("pretrain.nudge", [lane], of=own)
        assert packed.results()[i].losses == pytest.approx(solo.run()[0].losses, abs=1e-9)
        assert packed.best(i)["prompt.vector"].abs().sum() > 0
