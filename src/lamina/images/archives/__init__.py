"""Image archives: `docker save` archives and OCI layouts, read and written; tars imported.

source.py   members of an archive by name: a tar file (indexed, never unpacked) or a folder
plan.py     what an archive holds, as data: images, each a configuration, layers and names
docker.py   a plan from manifest.json, or from the `repositories` file of before 2016
oci.py      a plan from index.json
load.py     carries a plan out, in one operation
save.py     writes an archive that both kinds of reader understand
tarball.py  import: a tar of a filesystem becomes an image with one layer
"""
