"""Studies: trainings of one recipe side by side, and what they say about a claim of its paper."""
