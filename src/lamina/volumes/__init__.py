"""Volumes: named and anonymous, under `<root>/volumes/<name>/_data`; what `-v` means.

What the life of a container needs of this room:

    with volumes.resolved(["data:/var/lib/x", "/srv:/srv:ro"], image_volumes=["/cache"]) as mounts:
        with database.transaction() as tx: …; volumes.use(container_id, mounts)
    volumes.populate(mounts, rootfs)        # once the root filesystem is mounted, before its start
    source = volumes.source(mounts[0])      # the folder to bind, on every start
    volumes.release(container_id, remove_anonymous=True)        # with the container's removal
"""
