"""Plain pytest in a clone: the same fixtures as the gate's."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ("modelparity.plugin",)
# As in the workers, and before any test imports PyTorch: idle threads sleep instead of spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Time is no fault of a test: other tests and toolchains run beside it.
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")
