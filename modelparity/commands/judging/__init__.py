"""Commands that judge files: prove, verify, gate, mutate, search, report."""
