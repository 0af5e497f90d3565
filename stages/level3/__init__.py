"""Level 3 stages."""
