"""What do PLATE's winners read of their prompts? Validation AUC of exported prompts, with a part of each taken away.

    python -m benchmarks.one_prompt runs/plate_prompt

one for all users     the user network gives everybody the same prompt
no domain prompt      zeros stand in its field
no prompts            zeros stand in both

Nothing is trained anew: what is told is how much a model leans on its prompts, and not what it would reach without them, which is
for the job's other methods to say. No test row is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.mistakes import told
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.evaluation.metrics.scores import auc
from raytune_rec.names import path_name
from raytune_rec.schema.prepared import Table as Rows
from raytune_rec.scoring.load import load_prompt
from raytune_rec.scoring.scorer import Scorer

OUT = "prompt.user.out.weight"
TAKEN: Mapping[str, tuple[str, ...]] = {
    "one for all users": (OUT,),
    "no domain prompt": ("prompt.domain",),
    "no prompts": (OUT, "prompt.meta", "prompt.domain"),
}
"""What is taken away -> the tensors that are zeros then. A zero output layer gives all users Fusion's equal weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run that exported PLATE's prompts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(options.run / "data")
    table = Table("domain", "as tuned", *TAKEN, title="Validation AUC, and its change")
    for domain in store.schema.domains:
        whole, taken = taken_away(options.run / "artifacts" / path_name(domain), store.load(domain, "valid"))
        table.add_row(domain, f"{whole:.4f}", *(f"{value - whole:+.4f}" for value in taken.values()))
    Console(width=110).print(table)


def taken_away(artifact: Path, rows: Rows) -> tuple[float, dict[str, float]]:
    """AUC of a prompt on some rows; and with each part taken away.

    Raises:
        ArtifactError: there is no such prompt, or it is none of PLATE's with both prompts.
    """
    whole, reached = auc_of(load_prompt(artifact), rows), {}
    for part, names in TAKEN.items():
        scorer = load_prompt(artifact)
        tensors = _tensors(scorer)
        if missing := {OUT, "prompt.domain"} - tensors.keys():
            raise ArtifactError(
                f"{artifact}: it has no {', '.join(sorted(missing))}; name a run that exported a 'plate' with both prompts."
            )
        for name in tensors.keys() & set(names):  # Generative has no meta-prompts
            tensors[name].zero_()
        reached[part] = auc_of(scorer, rows)
    return whole, reached


def _tensors(scorer: Scorer) -> dict[str, Tensor]:
    """Full name -> the tensor that scoring reads: of a table that was tuned, its tuned rows."""
    (group,) = scorer.bank.groups
    return {**group.model.fixed, **{name: rows.values for name, rows in group.tuned.items()}}


def auc_of(scorer: Scorer, rows: Rows) -> float:
    """AUC of prepared rows."""
    return auc(torch.tensor(scorer.logits(rows)).unsqueeze(0), torch.tensor(rows.label)).item()


if __name__ == "__main__":
    with told():
        main()
