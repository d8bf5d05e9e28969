"""Reads, describes, compares and edits TFLite files."""
