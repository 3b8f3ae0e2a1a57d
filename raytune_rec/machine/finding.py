"""One line on the state of the machine: `doctor` prints all, and a run refuses to begin with those that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: was looked at.
        state: `wrong` makes the command fail.
        text: what is so, with the remedy where there is one.
    """

    what: str
    state: State
    text: str
