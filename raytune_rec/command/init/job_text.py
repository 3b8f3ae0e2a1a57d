"""A job as TOML with comments: what was found in the files, and settings that fit their size."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raytune_rec.command.init.files import Layout
from raytune_rec.command.init.roles import Roles

_WIDTH = 118


@dataclass(frozen=True)
class Choices:
    """What is decided once the roles of the columns are known.

    Args:
        as_histories: rows are users with histories; else single interactions with labels.
        split: kind of the split. cut: of a split in time.
        metric: of validation. smallest: training rows of the smallest domain. rejected: share of rows that may be unusable.
        together: the log is one domain, whatever its rows say.
        negatives: items that each positive is ranked among; 0: all.
    """

    as_histories: bool
    split: str
    cut: str = "all"
    metric: str = "auc"
    smallest: int = 0
    rejected: float = 0.01
    together: bool = False
    negatives: int = 99


def job_text(name: str, files: Sequence[Path], layout: Layout, roles: Roles, choices: Choices) -> str:
    """The text of a job."""
    parts = [_head(name, layout, roles), _data(name, layout, roles, choices, files), _models(roles, choices)]
    return "\n\n".join(parts) + "\n"


def _head(name: str, layout: Layout, roles: Roles) -> str:
    lines = [
        "Written by `raytune-rec init`. Every line may be changed; `raytune-rec show job` tells each option.",
        f"  raytune-rec check {name}.toml",
        f"  raytune-rec run {name}.toml",
        "",
        "What was taken for what, and why:",
        *(f"- {line}" for line in (*layout.why, *roles.why)),
    ]
    if roles.left_out:
        lines += ["Not read:", *(f"- {column}: {why}" for column, why in roles.left_out.items())]
    return "\n".join([*_comment(lines), f"name = {_text(name)}", "seed = 1"])


def _comment(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        plain = " ".join(line.split(" ")) if line.isprintable() else json.dumps(line, ensure_ascii=True)
        indent = "  " if plain.startswith("- ") else ""
        yield from (f"# {part}".rstrip() for part in textwrap.wrap(plain, _WIDTH, subsequent_indent=indent) or [""])


def _data(name: str, layout: Layout, roles: Roles, choices: Choices, files: Sequence[Path]) -> str:
    split = f'kind = "{choices.split}"' + (f', cut = "{choices.cut}"' if choices.split == "time" else "")
    why = {
        "time": "The latest tenth of the rows tests, the tenth before validates: what a model meets once it serves.",
        "hash": "A tenth of the rows each validates and tests, drawn by a hash: the log tells no time that could cut it.",
        "leave_one_out": "The last item of each user tests, the one before validates.",
    }[choices.split]
    lines = ["[data]", 'source = "tabular"', f"# {why}", f"split = {{ {split} }}"]
    if choices.as_histories:
        lines.append(f"sequences = {{ length = 50, negatives = {choices.negatives} }}")
    if roles.above is not None and not choices.as_histories:
        lines.append(f"positive_above = {roles.above:g}")
    if choices.rejected > 0.01:
        lines.append("# So many rows of the files cannot be used, as `check` tells; mend them rather than leave this so high.")
        lines.append(f"max_rejected = {choices.rejected:g}")
    lines += ["", "[data.options]", f"files = [{', '.join(_text(str(path)) for path in files)}]"]
    lines += [f"{key} = {_text(value)}" for key, value in _written(layout)]
    if layout.header:
        lines.append(f"header = [{', '.join(map(_text, layout.header))}]")
    if roles.missing:
        lines.append(f"missing = [{', '.join(map(_text, roles.missing))}]")
    several = bool(roles.domains) and not choices.together
    if roles.domain_from and several:
        lines.append('domain_from = "file"')
    elif not several:
        lines.append(f"domain = {_text(name)}")
    if roles.shared and several:
        lines.append("shared_items = true")
    columns = {r: c for r, c in roles.columns.items() if several or r != "domain"}
    if choices.as_histories:
        columns = {r: c for r, c in columns.items() if r != "rating"}
    lines += ["", "[data.options.columns]", *(f"{role} = {_text(column)}" for role, column in columns.items())]
    features = [f for f in roles.features if not (choices.as_histories and f.role == "context")]
    forms = {role: form for role, form in roles.formats.items() if role in columns} | {
        f.name: f.format for f in features if f.format
    }
    if forms:
        lines += ["", "[data.options.formats]", *(f"{role} = {_text(form)}" for role, form in forms.items())]
    for role, side in roles.sides.items():
        if any(f.role == role.removesuffix("s") for f in features):
            key = role.removesuffix("s")
            lines += ["", f"[data.options.{role}]", f"files = [{', '.join(_text(str(path)) for path in side.paths)}]"]
            lines += [f"columns = {{ {key} = {_text(side.key)} }}"] if side.key != roles.columns[key] else []
    for f in features:
        lines += [
            "",
            f"[data.options.features.{f.name}]",
            f"column = {_text(f.column)}",
            f'role = "{f.role}"',
            f'kind = "{f.kind}"',
        ]
        lines += [f"separator = {_text(f.separator)}"] if f.separator else []
    return "\n".join(lines)


def _written(layout: Layout) -> Iterator[tuple[str, str]]:
    usual = Layout()
    for key in ("delimiter", "encoding", "quote"):
        if (value := getattr(layout, key)) != getattr(usual, key):
            yield key, value


def _models(roles: Roles, choices: Choices) -> str:
    batch = _batch(choices)
    if choices.as_histories:
        return _SEQUENCES.format(batch=batch, metric=choices.metric) + (_PPR if _profiles(roles) else _NO_PPR)
    return _ROWS.format(batch=batch, metric=choices.metric)


def _profiles(roles: Roles) -> bool:
    return any(f.role == "user" for f in roles.features)


def _batch(choices: Choices) -> int:
    """A power of two by which the smallest domain makes some sixteen steps an epoch."""
    most, rows = (128 if choices.as_histories else 512), max(1, choices.smallest // 16)
    return max(16, min(most, 2 ** (rows.bit_length() - 1)))


_ROWS = """\
[backbone]
name = "deepfm"
options = {{ width = 8, hidden = [32, 32] }}

[training]
metric = "{metric}"
batch_size = {batch}
epochs = 20
patience = 3

# One backbone is trained on all domains, without and with prompts. trials: recipes tried before; more are surer and take longer.
[pretrain]
trials = 16

[pretrainings.plain]

[pretrainings.plate]
prompt = "plate"
space = ["training", "plate"]
options = {{ "prompt.meta_prompts" = 24, "prompt.elastic" = true }}

[prompts.plate]
hidden_width = 16

# trials: configurations of each method on each domain.
[tune]
trials = 24

# What a prompt has to beat: a linear model, a model of its own for each domain, the shared one as it is, and tuned whole.
[methods.logistic]
strategy = "single"
backbone = "linear"
baseline = true

[methods.single]
strategy = "single"
baseline = true

[methods.pretrained]
strategy = "pretrained"
pretraining = "plain"
baseline = true

[methods.finetune_all]
strategy = "finetune_all"
pretraining = "plain"
baseline = true

# PLATE (SIGIR 2023): a prompt and the linear part.
[methods.plate]
strategy = "prompt_linear"
prompt = "plate"
pretraining = "plate"
space = ["training", "plate"]

[evaluate]
replicates = 3
compare = ["plate"]
export = "plate\""""

_SEQUENCES = """\
[backbone]
name = "sasrec"
options = {{ width = 32, blocks = 2, heads = 2, inner = 32, dropout = 0.2 }}

[training]
metric = "{metric}"
batch_size = {batch}
epochs = 20
patience = 3

# One backbone is trained on the histories of all domains. trials: recipes tried before; more are surer and take longer.
[pretrain]
trials = 4

[pretrainings.plain]
space = ["sequence"]

# trials: configurations of each method on each domain.
[tune]
trials = 8

# What tuning has to beat: how often items are taken, and the shared model as it is.
[methods.popularity]
strategy = "single"
backbone = "popularity"
baseline = true

[methods.pretrained]
strategy = "pretrained"
pretraining = "plain"
baseline = true
"""

_PPR = """
[methods.finetune_all]
strategy = "finetune_all"
pretraining = "plain"
space = ["sequence"]
baseline = true

# PPR (2022): tokens made of the user's profile in front of the history.
[methods.ppr_light]
strategy = "prompt"
prompt = "ppr"
pretraining = "plain"
space = ["sequence", "profile", "ppr"]

[evaluate]
replicates = 3
compare = ["ppr_light"]
export = "ppr_light\""""

_NO_PPR = """
# No column tells of users, so that there is nothing to make a prompt of: the prompt ppr reads their profiles.
[methods.finetune_all]
strategy = "finetune_all"
pretraining = "plain"
space = ["sequence"]

[evaluate]
replicates = 3
compare = ["finetune_all"]
export = "finetune_all\""""


def _text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
