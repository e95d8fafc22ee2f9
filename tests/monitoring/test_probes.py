from pathlib import Path

import pynvml
import pytest

from monitoring import probes
from monitoring.probes import GpuProcess, GpuReading
from tests.monitoring.fake_nvml import GIBIBYTE, FakeGpu, FakeNvml

BUSY = FakeGpu("Busy", usage_percent=80, memory_used_bytes=12 * GIBIBYTE)
BUSY_READING = GpuReading(
    index=0,
    name="Busy",
    usage_percent=80.0,
    memory_used_bytes=12 * GIBIBYTE,
    memory_total_bytes=16 * GIBIBYTE,
)


def test_the_host_reading_is_possible(tmp_path: Path) -> None:
    host = probes.read_host(tmp_path, cpu_over_seconds=0.05)
    assert 0 <= host.cpu_usage_percent <= 100
    assert 0 < host.memory_used_bytes < host.memory_total_bytes
    assert 0 <= host.disk_free_bytes <= host.disk_total_bytes


def test_cpu_use_is_seen(tmp_path: Path) -> None:
    probes.read_host(tmp_path)
    sum(number * number for number in range(3_000_000))
    assert probes.read_host(tmp_path).cpu_usage_percent > 0


@pytest.mark.parametrize(
    "error", [pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_NO_PERMISSION]
)
@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount"])
def test_without_a_driver_there_are_no_gpus_and_no_noise(
    error: int, call: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(error)

    nvml = FakeNvml([BUSY])
    monkeypatch.setattr(nvml, call, refuse)
    monkeypatch.setattr(probes, "pynvml", nvml)
    assert probes.read_gpus() == []
    assert capfd.readouterr() == ("", "")


def test_every_gpu_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "pynvml", FakeNvml([BUSY, FakeGpu("Idle")]))
    assert probes.read_gpus() == [
        BUSY_READING,
        GpuReading(index=1, name="Idle", usage_percent=0.0, memory_used_bytes=0, memory_total_bytes=16 * GIBIBYTE),
    ]


def test_a_lost_gpu_costs_its_own_figures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = FakeGpu(refuses=frozenset({"handle"}))
    monkeypatch.setattr(probes, "pynvml", FakeNvml([BUSY, lost]))
    assert probes.read_gpus() == [BUSY_READING, GpuReading(index=1)]


@pytest.mark.parametrize(
    ("refused", "missing"),
    [
        ("name", {"name"}),
        ("utilization", {"usage_percent"}),  # as in MIG mode
        ("memory", {"memory_used_bytes", "memory_total_bytes"}),
    ],
)
def test_a_refused_query_costs_that_figure_only(
    refused: str, missing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "pynvml", FakeNvml([FakeGpu(refuses=frozenset({refused}))]))
    [reading] = probes.read_gpus()
    assert {name for name, value in vars(reading).items() if value is None} == missing


def test_the_processes_of_a_gpu_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(computing={7: 3 * GIBIBYTE, 5: None}, drawing={5: None, 7: 3 * GIBIBYTE, 9: 1})
    monkeypatch.setattr(probes, "pynvml", FakeNvml([FakeGpu(), gpu]))
    assert probes.read_gpu_processes(0) == []
    assert probes.read_gpu_processes(1) == [
        GpuProcess(pid=5, memory_bytes=None),
        GpuProcess(pid=7, memory_bytes=3 * GIBIBYTE),
        GpuProcess(pid=9, memory_bytes=1),
    ]


@pytest.mark.parametrize(("refused", "found"), [("handle", []), ("computing", [9]), ("drawing", [7])])
def test_a_refused_list_of_processes_costs_that_list_only(
    refused: str, found: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu(computing={7: 1}, drawing={9: 1}, refuses=frozenset({refused}))
    monkeypatch.setattr(probes, "pynvml", FakeNvml([gpu]))
    assert [process.pid for process in probes.read_gpu_processes(0)] == found
