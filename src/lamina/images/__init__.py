"""Images: references, configurations, the image store, archives."""
