"""Storage drivers; nothing here knows what an image is."""
