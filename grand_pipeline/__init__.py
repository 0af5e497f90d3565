"""The engine of grand: columns, records, stages, plans and the store."""

__version__ = "0.1.0"
