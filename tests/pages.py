"""README and the pages of docs/: their text, and the blocks of code in them, for tests that run them as a reader would."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
TEXT = "\n".join(PAGES.values())


def blocks(language: str, text: str = TEXT) -> list[str]:
    """The blocks of a language; of equal ones the first."""
    return list(dict.fromkeys(re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)))


def block(language: str, holds: str) -> str:
    """The one block that holds some text, or the first of several that begin alike."""
    (found,) = [text for text in blocks(language) if holds in text]
    return found
