"""What a pre-trained sequence backbone makes of its users, one vector each, for other jobs; and what stands for items.

Shapes: N users, V items, D width."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raytune_rec import config
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.backbones.base import Paired
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.prepared import ALL_DOMAINS, CANDIDATES, USER, Table
from raytune_rec.scoring.base import Base
from raytune_rec.scoring.tuned import scoring_model
from raytune_rec.storage.files import STORAGE, at_hand
from raytune_rec.storage.listing import lost
from raytune_rec.storage.marker import files_of
from raytune_rec.tensors import Step
from raytune_rec.training.feed import device_table, take
from raytune_rec.training.model import Model

_USERS = 1024
"""Users of a pass."""
_FROM = b"backbone"
"""In the file: which backbone the vectors are of. No other file has it."""


Say = Callable[[str], None]


def _silent(line: str) -> None:
    """Says nothing."""


def write_vectors(run: Path, out: Path, pretraining: str = "", say: Say = _silent, at: Say = _silent) -> None:
    """Write the user vectors of a run as Parquet: `user`, the raw id, and `vector`, list<float32>.

    Args:
        run: folder of a run whose pre-training is done.
        out: the file, replaced at once.
        pretraining: the pre-training; empty: the only one.
        say: shows a line: what is read, and what was written.
        at: told what is being done.

    Raises:
        ArtifactError: the run has no such pre-training, or its backbone knows no users.
    """
    out = at_hand(out).absolute()
    _check_out(out)
    STORAGE.sweep(out)
    table = user_vectors(at_hand(run), pretraining, say, at)
    STORAGE.put(out, partial(pq.write_table, table, compression="zstd"))
    numbers = len(table["vector"][0])
    say(f"{out}: {len(table):,} rows written, a user and a vector of {numbers:,} numbers each")


def _check_out(out: Path) -> None:
    """Raises ArtifactError where a file stands that `write_vectors` has not written."""
    try:
        ours = not out.exists() or _FROM in (pq.read_schema(out).metadata or {})
    except (OSError, pa.ArrowException):
        ours = False
    if not ours:
        raise ArtifactError(
            f"--out {out}: is there, and `raytune-rec vectors` did not write it; name another file, or move it away."
        )


def user_vectors(run: Path, pretraining: str = "", say: Say = _silent, at: Say = _silent) -> pa.Table:
    """The representation of every user who is no cold one after all items that the data know of him, the last L of them read.

    Items of validation and test are among them: the vectors are for other data, never for what is measured on these. A user of
    several domains has the mean of theirs. In the order of the table of users.
    """
    folder = _backbone(run, pretraining)
    if gone := lost(run, files_of(run / "stages" / "prepare")):
        raise ArtifactError(f"{run}: {gone[0]} is lost or damaged; run `raytune-rec run JOB --out {run}` again.")
    store = Store.open(run / "data")
    columns = store.reader.known_histories()
    model, user = _model(run, folder, store), columns[USER]
    profile = {name: values[user] for name, values in store.lookup.users.items()}
    columns = {**profile, **columns, USER: store.lookup.known(USER, user)}
    say(f"backbone {folder.name} of {run}: reading {len(user):,} histories")
    vectors = _represented(model, columns, str(folder), at)
    owners, place, counts = np.unique(user, return_inverse=True, return_counts=True)
    means = np.zeros((len(owners), vectors.shape[1]))
    np.add.at(means, place, vectors)
    means = (means / counts[:, None]).astype(np.float32)
    raws = pq.read_table(run / "data" / "users.parquet", columns=["raw"])["raw"].take(pa.array(owners))
    offsets = pa.array(np.arange(len(means) + 1, dtype=np.int32) * means.shape[1])
    lists = pa.ListArray.from_arrays(offsets, pa.array(means.reshape(-1)))
    return pa.table({"user": raws, "vector": lists}).replace_schema_metadata({_FROM: folder.name})


def _backbone(run: Path, pretraining: str) -> Path:
    """Its folder, by the name of its pre-training."""
    known = backbone_artifact.of_run(run)
    firsts = [name for name in known if "#" not in name]
    if not pretraining and len(firsts) == 1:
        return known[firsts[0]]
    if pretraining not in known:
        wanted = f"no pre-training {pretraining!r}" if pretraining else "several pre-trainings"
        raise ArtifactError(f"{run}: the run has {wanted}; name one of {', '.join(firsts) or 'none'} (--pretraining).")
    return known[pretraining]


def _model(run: Path, folder: Path, store: Store) -> Model:
    """The backbone as it was pre-trained, with the prompt that learned with it."""
    base = Base(folder, *backbone_artifact.load(folder, data=False))
    folders = [Path(f) for f in config.read(run / "job.toml").components]
    if not base.serves(store.schema.task.pretrained.name, folders):
        raise ArtifactError(f"{folder}: a {base.facts.name!r} represents no users; name a pre-training of a sequence backbone.")
    parts = base.pretrained(store.schema.for_pretraining(), folders)
    return scoring_model(parts, [{}], base.start, store.by_id(ALL_DOMAINS) if parts.reads_by_id else None)


@torch.no_grad()
def item_vectors(model: Model, table: Table) -> np.ndarray | None:
    """(V, D): what stands for each item when a model of one lane scores; None where no vectors do.

    Args:
        table: rows that the model may score, of which one is.
    """
    rows, label = device_table(Table({name: values[:1] for name, values in table.columns.items()}, table.label[:1]), "cpu")
    batch = take(rows, label, torch.zeros(1, 1, dtype=torch.long))
    outputs = model.forward(batch, model.encode(batch), Step(False, last=True))
    items = outputs.vectors() if isinstance(outputs, Paired) and outputs.vectors else outputs.get("items")
    return None if items is None or items.dim() != 3 else items[0].numpy()


@torch.no_grad()
def _represented(model: Model, columns: dict[str, np.ndarray], where: str, at: Say) -> np.ndarray:
    """(N, D)."""
    count = len(columns[USER])
    # one candidate, the padding: otherwise every item would be scored
    table = Table({**columns, CANDIDATES: np.zeros((count, 1), np.int64)}, np.ones(count, np.float32))
    rows, label = device_table(table, "cpu")
    passes = []
    for index in torch.arange(count).split(_USERS):
        at(f"{int(index[0]):,} of {count:,} histories read")
        batch = take(rows, label, index.unsqueeze(0))
        outputs = model.forward(batch, model.encode(batch), Step(False, last=True))
        if "user" not in outputs:
            raise ArtifactError(f"{where}: its backbone represents no users; name a pre-training of another.")
        passes.append(outputs["user"][0])
    return torch.cat(passes).numpy()
