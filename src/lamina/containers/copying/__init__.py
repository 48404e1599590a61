"""Files copied into and out of a container, by the rules of `docker cp`."""
