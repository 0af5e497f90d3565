"""Measurements of how fast the software is; scores are `grand eval`'s."""
