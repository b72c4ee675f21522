"""The environment of every Ray process of this program."""

import os

SETTINGS = {
    # A building that is cut off from the head must go on (docs/adr/0004).
    "RAY_health_check_period_ms": "3000",
    "RAY_health_check_failure_threshold": "1000",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
    # A host that can't be reached fails within seconds instead of hanging.
    "RAY_grpc_client_keepalive_time_ms": "3000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    "RAY_grpc_keepalive_time_ms": "3000",
    "RAY_grpc_keepalive_timeout_ms": "3000",
    "RAY_AUTH_MODE": "token",
    # Nothing is sent anywhere, no actor is killed for another program's memory, logs stay bounded.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ROTATION_MAX_BYTES": "10000000",
    "RAY_ROTATION_BACKUP_COUNT": "2",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Must be set before Ray is imported."""

TLS_FILES = {
    "ca": ("RAY_TLS_CA_CERT", "ca.crt"),
    "certificate": ("RAY_TLS_SERVER_CERT", "host.crt"),
    "key": ("RAY_TLS_SERVER_KEY", "host.key"),
}
"""What a folder with certificates has, and how Ray is told of each file."""


def tls(folder: str) -> dict[str, str]:
    """Give the settings with which Ray's processes use the certificates in a folder."""
    at = os.path.abspath(os.path.expanduser(folder))
    return {"RAY_USE_TLS": "1"} | {variable: os.path.join(at, name) for variable, name in TLS_FILES.values()}
