"""Settings that all tests share."""

import os
import signal

from hypothesis import HealthCheck, settings

# A machine under load is no reason to fail, so no deadlines. The random seed of a failing example is printed.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", parent=settings.get_profile("default"), max_examples=20_000)
settings.load_profile(os.environ.get("FORGE_TEST_PROFILE", "default"))

# Nor is what somebody has told git, or the hook that runs the tests, or a language that programs answer in, or a umask,
# or that a shell started the tests in the background, so without Ctrl-C.
for name in [name for name in os.environ if name.startswith(("GIT_", "LANG", "LC_"))]:
    del os.environ[name]
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
os.umask(0o022)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
