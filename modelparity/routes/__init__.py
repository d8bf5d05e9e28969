"""The second route to TFLite, compared with the direct one."""
