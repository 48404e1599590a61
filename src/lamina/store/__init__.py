"""What a data root stores: database, blobs, locks, operations."""
