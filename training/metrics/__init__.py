"""Scores of trained models, in numpy: what several recipes are measured by."""
