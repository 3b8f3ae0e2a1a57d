"""Ali-CCP clicks (Ma et al., SIGIR 2018) as one table: the domain is the scenario, field 301.

Files: CSV with the header `click,purchase,101,121,...,301,...,D853`, ids coded as numbers. Read are the ids of the user (101) and
of the item (205), 8 features of users, 4 of items, and the label `click`. Shops' and categories' statistics and crossed fields
are left out, as PLATE does; an item is the same in all domains.
"""

from __future__ import annotations

from pydantic import Field

from raytune_rec import components
from raytune_rec.data.sources._published import Published

_COLUMNS = {"domain": "301", "user": "101", "item": "205", "label": "click"}
_OF_USERS = ("121", "122", "124", "125", "126", "127", "128", "129")
_OF_ITEMS = ("206", "207", "210", "216")


class AliCcp(Published):
    """Ali-CCP: impressions with label = click."""

    class Options(components.Options):
        files: str | tuple[str, ...] = Field(description="path, glob, or a list of these")

    def __init__(self, options: Options) -> None:
        features = {f"f{name}": {"role": "user", "column": name} for name in _OF_USERS}
        features |= {f"f{name}": {"role": "item", "column": name} for name in _OF_ITEMS}
        super().__init__("ali_ccp", options.files, _COLUMNS, features, shared=True)
