"""What each command does: checks its arguments, works, and prints the result."""
