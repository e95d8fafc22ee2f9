"""What a configuration asks of the machine is there, or is refused in words before anything is queued."""

from typing import Any

import pytest
from pytest_django import Settings

from monitoring.probes import GpuReading
from training import hardware
from training.hardware import device_problems


@pytest.mark.parametrize(
    ("gpus", "server", "config", "wrong", "hint"),
    [
        (0, "auto", {}, None, ""),
        (0, "cuda", {}, None, ""),  # the operator's word, not the client's
        (0, "auto", {"device": "auto"}, None, ""),
        (0, "auto", {"device": "cuda"}, "device", "this machine has no GPU"),
        (1, "auto", {"device": "cuda"}, None, ""),
        (1, "auto", {"device": "cuda:0"}, None, ""),
        (1, "auto", {"device": "cuda:1"}, "device", "one GPU, cuda:0"),
        (4, "auto", {"device": "cuda:4"}, "device", "4 GPUs, cuda:0 to cuda:3"),
        (0, "auto", {"gpus": 2}, "gpus", "this machine has no GPU"),
        (2, "auto", {"gpus": 2}, None, ""),
        (2, "cuda", {"gpus": 2, "device": "auto"}, None, ""),
        (2, "auto", {"gpus": 3}, "gpus", "gpus is 3, and this machine has 2 GPUs"),
        (2, "auto", {"gpus": 2, "device": "cpu"}, "gpus", "on the CPU"),
        (2, "cpu", {"gpus": 2}, "gpus", "on the CPU"),
        (2, "auto", {"gpus": 2, "device": "cuda:1"}, "gpus", "use cuda as device"),
        (0, "auto", {"precision": "fp16"}, "precision", "use bf16 or fp32"),
        (1, "auto", {"precision": "fp16"}, None, ""),
        (1, "auto", {"precision": "fp16", "device": "cpu"}, "precision", "on the CPU"),
        (1, "cpu", {"precision": "fp16"}, "precision", "on the CPU"),
        (0, "auto", {"precision": "bf16"}, None, ""),
    ],
)
def test_what_the_machine_has_not_got_is_refused_in_words(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    server: str,
    config: dict[str, Any],
    wrong: str | None,
    hint: str,
) -> None:
    settings.TRAINING_DEVICE = server
    monkeypatch.setattr(hardware, "read_gpus", lambda: [GpuReading(index=index) for index in range(gpus)])
    problems = device_problems(config)
    assert set(problems) == ({wrong} if wrong else set())
    assert all(hint in message for messages in problems.values() for message in messages)
