"""Scores with exported prompts, from plain Python."""

from raytune_rec.scoring.rows import Answers, Scores
from raytune_rec.scoring.scorer import Scorer, load_prompt

__all__ = ["Answers", "Scorer", "Scores", "load_prompt"]
