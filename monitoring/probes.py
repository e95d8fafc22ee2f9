"""What the machine is doing now: readings as frozen dataclasses. No database and no settings here."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pynvml


@dataclass(frozen=True, kw_only=True)
class HostReading:
    """One reading of processor, memory and the disk that holds the data."""

    cpu_usage_percent: float
    memory_used_bytes: int  # what a new program could not have
    memory_total_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int


@dataclass(frozen=True, kw_only=True)
class GpuReading:
    """One reading of one GPU; a figure that the GPU would not tell is None."""

    index: int
    name: str | None = None
    usage_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process that computes or draws on a GPU; `memory_bytes` is None where the GPU would not tell."""

    pid: int
    memory_bytes: int | None


def read_host(data_dir: Path, cpu_over_seconds: float | None = None) -> HostReading:
    """Read the host. CPU use is measured over `cpu_over_seconds`, or since this thread's last reading when None."""
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(data_dir)
    return HostReading(
        cpu_usage_percent=psutil.cpu_percent(interval=cpu_over_seconds),
        memory_used_bytes=memory.total - memory.available,
        memory_total_bytes=memory.total,
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
    )


def read_gpus() -> list[GpuReading]:
    """Read every GPU; an empty list where there is no GPU or no driver."""
    try:
        # Counted by NVML, so cheap after the first time. It is never shut down: on a card without persistence
        # mode the last client's leaving puts the card to sleep, and the next reading would wait for it.
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return []
    return [_read_gpu(index) for index in range(count)]


def read_gpu_processes(index: int) -> list[GpuProcess]:
    """The processes on one of the GPUs that read_gpus() found, in the order of their ids."""
    handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return []
    memory: dict[int, int | None] = {}
    # One that computes and draws stands in both lists, each time with all that it holds.
    for query in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in _ask(query, handle) or ():
            memory[process.pid] = process.usedGpuMemory
    return [GpuProcess(pid=pid, memory_bytes=memory[pid]) for pid in sorted(memory)]


def _read_gpu(index: int) -> GpuReading:
    handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return GpuReading(index=index)
    utilization = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return GpuReading(
        index=index,
        name=_ask(pynvml.nvmlDeviceGetName, handle),
        usage_percent=None if utilization is None else float(utilization.gpu),
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
    )


def _ask(query: Callable[[Any], Any], subject: object) -> Any:
    """One query's answer; None when this GPU refuses it, so that a lost card costs its own figures and no more."""
    with contextlib.suppress(pynvml.NVMLError):
        return query(subject)
    return None
