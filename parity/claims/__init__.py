"""Makes the claims on a file: what it declares, what comes out of it, and what users decide by."""
