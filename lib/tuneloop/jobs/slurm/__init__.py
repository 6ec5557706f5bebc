"""What knows SLURM: its scripts, its answers, handing over exactly once. The executor puts them together."""
