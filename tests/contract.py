"""The contract, where more than one test holds the server to the same part of it."""

SYSTEM_INFO_FIELDS = {
    "cpu_usage_percent",
    "memory_used_mb",
    "memory_total_mb",
    "memory_percent",
    "disk_free_gb",
    "disk_total_gb",
    "gpu_available",
    "gpu_usage_percent",
    "gpu_memory_used_mb",
    "gpu_memory_total_mb",
    "timestamp",
}
