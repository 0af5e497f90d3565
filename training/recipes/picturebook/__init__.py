"""Recipes of the embedded picture-book checkpoints.

Each module trains one tiny checkpoint of a real architecture on rendered scenes and
exports it for the pipeline: `python -m training.recipes.picturebook.detector --help`.
"""
