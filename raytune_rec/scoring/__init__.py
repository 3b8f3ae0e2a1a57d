"""Scores with exported prompts, from plain Python."""

from raytune_rec.scoring.scorer import Scorer, load_prompt

__all__ = ["Scorer", "load_prompt"]
