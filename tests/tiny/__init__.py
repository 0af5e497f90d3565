"""Tiny random checkpoints of the real architectures, saved as a hub repository would be.

Builders import torch lazily, as the package does. Weights are random but seeded.
"""
