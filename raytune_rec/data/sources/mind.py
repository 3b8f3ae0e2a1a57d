"""MIND news clicks (Wu et al., ACL 2020) as multi-scenario benchmarks cut them: one domain a category of news.

Files: CSV with the header `User_ID,News_ID,label,Category,SubCategory`; label 1 is a click. A user is the same in all domains, an
item belongs to its category. There are no times.
"""

from __future__ import annotations

from pydantic import Field

from raytune_rec import components
from raytune_rec.data.sources._published import Published

_COLUMNS = {"domain": "Category", "user": "User_ID", "item": "News_ID", "label": "label"}
_FEATURES = {"subcategory": {"role": "item", "column": "SubCategory"}}


class Mind(Published):
    """MIND: impressions with label = click."""

    class Options(components.Options):
        files: str | tuple[str, ...] = Field(description="path, glob, or a list of these")

    def __init__(self, options: Options) -> None:
        super().__init__("mind", options.files, _COLUMNS, _FEATURES)
