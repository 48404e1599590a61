"""Layer tars: reading, writing, extraction beneath a root, diff."""
