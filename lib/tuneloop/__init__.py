"""Tuneloop: design, scaffold, run and analyze fine-tuning experiments."""

__version__ = "0.1.0"
