"""`modelparity verify`: judges a file from anywhere."""
