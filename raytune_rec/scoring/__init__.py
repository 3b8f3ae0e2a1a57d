"""Scores with exported prompts, from plain Python."""

from raytune_rec.scoring.load import load_prompt, load_prompts
from raytune_rec.scoring.prompts import Prompts, load_backbone
from raytune_rec.scoring.rows import Answers, Scores
from raytune_rec.scoring.scorer import Scorer

__all__ = ["Answers", "Prompts", "Scorer", "Scores", "load_backbone", "load_prompt", "load_prompts"]
