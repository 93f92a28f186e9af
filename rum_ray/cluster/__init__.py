"""All of it, on Ray; the only package that imports it."""

import os
import sys

# Ray reads these when it is imported, so they are set before it is; what the user has set counts.
# The Train tab needs the tracking, and usage statistics would leave the machine. After the
# loss of a machine Train asks for room that is gone, and looks again when this time is over.
_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
if "ray" not in sys.modules:
    for _name, _value in _SETTINGS.items():
        os.environ.setdefault(_name, _value)
