"""Containers: lifecycle, runtime bundle, monitor, logs, exec, size."""
