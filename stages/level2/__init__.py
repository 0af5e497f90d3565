"""Level 2 stages."""
