"""Stages of the pipeline, one file per stage."""
