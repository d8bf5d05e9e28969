"""Makes the claims on detections: rows that are a set."""
