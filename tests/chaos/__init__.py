"""Runs that are killed at every step, at random moments, and while a stranger is still writing."""
