"""What others have predicted or annotated becomes columns of a run; one module per format."""
