"""Values of product pages -> plain text. What a page leaves in a cell besides its text is dropped, never read as text.

A value is what a JSON line or a Python literal holds: text, a number, a list of these or of lists, or a list printed as text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from raytune_rec.data.files.objects import literal

_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
"""Comments, programs and styles, with what stands in them; one that is not closed goes to the end."""
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<!?[a-zA-Z/][^<>]*\Z|\A[^<>]*[\"']\s*/>")
"""Tags, one that the end cuts off, and the rest of one whose beginning is cut off, as `Gifts" />`; a `<` before a blank or a
digit is a sign."""
_STYLE = re.compile(r"(?:[.#@][\w-]++[\w\-.#:>,@\s]{0,1000}+)?\{[^{}:;]*+[:;][^{}]*+\}")
"""A rule of a style sheet, which lies in cells whose page was cut wrongly. Nothing is read twice (`++`), and selectors have an
end: the time that a long cell takes grows as it does."""
_PROGRAM = re.compile(r"\bfunction\s*\w*\s*\(|\bvar\s+\w+\s*=|;\s*\}|\$\(")
_PRICE = re.compile(r"\$\s*(\d{1,3}(?:,\d{3})+|\d+)(\.\d{1,2})?(?!\d)")
_RANGE = re.compile(rf"\s*{_PRICE.pattern}(?:\s*-\s*{_PRICE.pattern})?\s*")
_TWICE = 2
"""How often entities are read: pages hold `&amp;quot;`."""


def plain(value: Any) -> str:
    """The text of a value on one line: entities read, markup and invisible letters dropped, compatible letters made one (Unicode
    NFKC), blanks single. A value with a piece of a program has none. A list is its parts, one after another.
    """
    if isinstance(value, list | tuple):
        return " ".join(listed(value))
    if value is None or isinstance(value, bool | dict) or value != value:
        return ""
    text = str(value)
    for _ in range(_TWICE):
        text = html.unescape(text)
    text = _STYLE.sub(" ", _TAG.sub(" ", _HIDDEN.sub(" ", text)))
    if _PROGRAM.search(text):
        return ""
    return " ".join("".join(_visible(unicodedata.normalize("NFKC", text))).split())


def listed(value: Any) -> list[str]:
    """The parts of a value as plain text, each once, in their order: of lists in lists, and of a list that is printed as text."""
    return list(dict.fromkeys(text for part in _parts(value) if (text := plain(part))))


def price(value: Any) -> str:
    """`$12.50`, or `$5.00 - $9.99` of a range; empty where a value is no price in dollars.

    A number is one, and text with a sign of its own: `$1,250.00` is, page markup that holds a price somewhere is not.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"${value:.2f}" if 0 <= value < 1e9 else ""
    found = _RANGE.fullmatch(html.unescape(value)) if isinstance(value, str) else None
    if found is None:
        return ""
    parts = zip(found.groups()[::2], found.groups()[1::2], strict=True)
    return " - ".join(f"${float(whole.replace(',', '') + (cents or '')):.2f}" for whole, cents in parts if whole)


def _parts(value: Any) -> Iterator[Any]:
    """What lists hold, however deep it lies."""
    left = [_read(value)]
    while left:
        if isinstance(part := left.pop(), list | tuple):
            left += reversed(part)
        else:
            yield part


def _read(value: Any) -> Any:
    """A list that is printed as text, as a list; everything else as it is."""
    if not (isinstance(value, str) and value.lstrip().startswith("[") and value.rstrip().endswith("]")):
        return value
    read = literal(value)
    return value if read is None else read


def _visible(text: str) -> Iterator[str]:
    """Letters, with a blank for each control; format characters, private letters and lone surrogates are left out."""
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "Cc":
            yield " "
        elif kind not in ("Cf", "Cs", "Co", "Cn"):
            yield letter
