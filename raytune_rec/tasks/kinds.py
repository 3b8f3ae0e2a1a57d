"""From a task to its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_rec.task import Task, TaskName
from raytune_rec.tasks.base import TaskKind
from raytune_rec.tasks.classes import Classes
from raytune_rec.tasks.lists import Lists
from raytune_rec.tasks.rows import LabelledRows

_KINDS: Mapping[TaskName, type[TaskKind[Any]]] = {"rows": LabelledRows, "lists": Lists, "classes": Classes}
REMEDIES: Mapping[str, str] = {
    "rows": "rows, leave data.sequences out",
    "lists": "lists, set data.sequences, without predict",
    "classes": "classes, set data.sequences.predict",
}
"""How a job chooses each."""


def kind_of(task: Task) -> TaskKind[Any]:
    return _KINDS[task.name](task)
