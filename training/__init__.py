"""Training: one loop, one file per recipe; what `grand train` runs."""
