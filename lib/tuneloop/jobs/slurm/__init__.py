"""What knows SLURM: what is handed to it, what it answers, and in which words people hear of it."""
