"""Ray: jobs in Train, embeddings in Data, searches in Tune. No other package imports Ray."""

import os
import sys

# Ray reads these at import, so they are set before; values that the user has set win.
# Usage statistics would leave the machine. A shard whose place was taken tries again after the
# start timeout. Notices of preemption need no actor that watches for them: the queue requeues the
# jobs of a lost machine. Train's own metrics say nothing about independent workers.
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
for _name, _value in SETTINGS.items():
    # Tune reads its settings later than at import.
    if "ray" not in sys.modules or _name.startswith("TUNE_"):
        os.environ.setdefault(_name, _value)
