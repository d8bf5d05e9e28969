"""Plants faults in proven files and records which claim detects each."""
