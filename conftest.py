"""Plain pytest in a clone: the same fixtures as the gate's."""

import os

pytest_plugins = ("modelparity.plugin",)
# As in the workers, and before any test imports PyTorch: idle threads sleep instead of spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
