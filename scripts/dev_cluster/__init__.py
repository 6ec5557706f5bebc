"""A real SLURM on one machine, for development and tests: the parts of `scripts/slurm-dev-cluster`.

Standard library only; the script runs where Tuneloop is not installed.
"""
