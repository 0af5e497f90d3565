"""Scores of annotations against exact truth."""

from grand_pipeline.evaluation.evaluate import Extras, evaluate, evaluate_runs
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.report import text

__all__ = ["Extras", "Scores", "evaluate", "evaluate_runs", "text"]
