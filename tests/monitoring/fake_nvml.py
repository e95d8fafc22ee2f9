"""A machine with GPUs, played to probes.py in place of the module pynvml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml

GIBIBYTE = 1 << 30


@dataclass
class FakeGpu:
    """One GPU; `refuses` names the queries that end in an error, the processes are memory by process id."""

    name: str = "Imaginary 9000"
    usage_percent: int = 0
    memory_used_bytes: int = 0
    memory_total_bytes: int = 16 * GIBIBYTE
    refuses: frozenset[str] = frozenset()
    computing: Mapping[int, int | None] = field(default_factory=dict)
    drawing: Mapping[int, int | None] = field(default_factory=dict)


class FakeNvml:
    NVMLError = pynvml.NVMLError

    def __init__(self, gpus: Sequence[FakeGpu]) -> None:
        self.gpus = gpus

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        return self._answer("handle", self.gpus[index])

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return self._answer("name", gpu).name

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=self._answer("utilization", gpu).usage_percent, memory=0)

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:
        self._answer("memory", gpu)
        return SimpleNamespace(total=gpu.memory_total_bytes, used=gpu.memory_used_bytes, free=0)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        return self._processes(self._answer("computing", gpu).computing)

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        return self._processes(self._answer("drawing", gpu).drawing)

    @staticmethod
    def _processes(memory: Mapping[int, int | None]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in memory.items()]

    @staticmethod
    def _answer(query: str, gpu: FakeGpu) -> FakeGpu:
        if query in gpu.refuses:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return gpu
