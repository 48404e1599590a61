"""Layers: applying tars, committing snapshots, sharing content, exact tars, and who needs what."""
