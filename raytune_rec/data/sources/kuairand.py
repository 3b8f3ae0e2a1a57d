"""KuaiRand clicks (Gao et al., CIKM 2022), joined with features of users and videos: the domain is the tab of the application.

Files: CSV with a header; read are `user_id,video_id,tab,is_click` and six features. A video is the same in all domains.
"""

from __future__ import annotations

from pydantic import Field

from raytune_rec import components
from raytune_rec.data.sources._published import Published

_COLUMNS = {"domain": "tab", "user": "user_id", "item": "video_id", "label": "is_click"}
_FEATURES = {
    **{
        name: {"role": "user"}
        for name in ("user_active_degree", "follow_user_num_range", "fans_user_num_range", "register_days_range")
    },
    "video_type": {"role": "item"},
    "duration_ms": {"role": "context", "kind": "numerical"},
}


class KuaiRand(Published):
    """KuaiRand: impressions with label = click."""

    class Options(components.Options):
        files: str | tuple[str, ...] = Field(description="path, glob, or a list of these")

    def __init__(self, options: Options) -> None:
        super().__init__("kuairand", options.files, _COLUMNS, _FEATURES, shared=True)
