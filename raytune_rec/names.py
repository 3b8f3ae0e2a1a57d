"""From a name of a job, a log or an artifact to one component of a path.

Names are anybody's text: of any length and script, `../x`, `NUL`, `a:b`. No path is made of one but through here. The true name
stands inside, in the facts.
"""

from __future__ import annotations

import hashlib
import re

SLUG = 40
"""Most characters of the readable part."""

_PLAIN = re.compile(rf"[a-z0-9](?:[a-z0-9._-]{{0,{SLUG - 2}}}[a-z0-9_-])?")
_HASHED = re.compile(r"(?:.*-)?[0-9a-f]{12}", re.DOTALL)
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")
"""What Windows keeps for itself."""


def path_name(name: str) -> str:
    """The component of a path that stands for a name: at most 53 ASCII characters, a letter or a digit first.

    A short name of small letters, digits and `.`, `_`, `-` stands as it is. Any other becomes what is readable of it and a hash
    of the whole, so that two names never share a component, also where a file system takes `A` and `a` for the same.
    """
    if _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", name[: 4 * SLUG])[: SLUG + 1].strip("-_")[:SLUG]
    return f"{slug}-{digest}" if slug else digest
