"""The data root: metadata database, content store, locks, operations and their recovery."""
