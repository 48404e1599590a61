"""Networks of containers: bridge, host, none."""
