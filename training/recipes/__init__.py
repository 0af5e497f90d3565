"""Recipes: a configuration dataclass and a `main` that reads top to bottom."""
