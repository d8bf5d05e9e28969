"""Makes, keeps and runs artifacts: the store, the workers, and what they are asked to do."""
