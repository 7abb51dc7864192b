"""What Ray reads from the environment when it is imported; the package imports this first."""

from __future__ import annotations

import os
import sys

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # it prints a trace at SIGTERM, and ends the process by SIGABRT 3 s later
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    # the loopback address alone, on Linux too: Ray runs what it is sent, from whoever sends it
    LOOPBACK: "0",
    # without its GCS it ends this process after 60 s, saying nothing: `pulse` is quicker, and says
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
os.environ.update(QUIET)


def keep_to_loopback(alone: bool) -> None:
    """Whether Ray uses the loopback address alone; before a start of it or a joining."""
    os.environ[LOOPBACK] = "0" if alone else "1"
    constants = sys.modules.get("ray._private.ray_constants")
    if constants is not None and hasattr(constants, "ENABLE_RAY_CLUSTER"):  # imported already
        setattr(constants, "ENABLE_RAY_CLUSTER", not alone)  # noqa: B010 - Ray's types lack it
