"""Recipes of the embedded picture-book checkpoints.

Each recipe trains one tiny checkpoint of a real architecture on rendered scenes and exports it
for the pipeline: `python -m training.recipes.picturebook.detector --help`. The Makefile beside
them trains all, measures the whole preset and writes the model card.
"""
