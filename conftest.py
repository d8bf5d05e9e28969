"""Plain pytest in a clone: the same fixtures as the gate's."""

pytest_plugins = ("modelparity.plugin",)
