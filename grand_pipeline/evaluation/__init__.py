"""Scores of annotations against exact truth."""

from grand_pipeline.evaluation.evaluate import Extras, evaluate, evaluate_runs
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.report import compared, differences, text

__all__ = ["Extras", "Scores", "compared", "differences", "evaluate", "evaluate_runs", "text"]
