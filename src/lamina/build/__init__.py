"""Dockerfile to steps, steps to layers; cache; progress events."""
