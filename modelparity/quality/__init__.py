"""Judges what a precision costs, by what somebody stated or accepted; nothing here is a bound of its own."""
