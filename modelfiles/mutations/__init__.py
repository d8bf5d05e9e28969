"""Plants faults in model files, whatever their format."""
