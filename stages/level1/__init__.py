"""Level 1 stages."""
