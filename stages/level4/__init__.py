"""Level 4 stages."""
