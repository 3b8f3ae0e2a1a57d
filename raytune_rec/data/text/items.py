"""Item text: the attributes of an item in a given order (UPSR, section 3.3.1).

    (category: <category>) <title> (brand: <brand>) (price: <price>) (description: <description>)

An attribute that an item lacks is left out with its name. UPSR takes category and title in pre-training, all five in tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TITLE = "title"
"""The attribute that stands without its name."""


def item_text(values: Mapping[str, str], attributes: Sequence[str]) -> str:
    """The text of an item; empty where it has none of the attributes.

    Args:
        values: attribute -> plain text, empty where the item lacks it. attributes: which of them, in which order.
    """
    return " ".join(text if name == TITLE else f"({name}: {text})" for name in attributes if (text := values[name].strip()))
