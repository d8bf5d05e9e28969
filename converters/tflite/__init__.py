"""Makes, quantizes and runs TFLite files."""
