"""System calls and mounts, nothing else."""
