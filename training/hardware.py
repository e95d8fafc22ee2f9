"""What of a configuration this machine has not got: its GPUs, counted without torch."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from monitoring.probes import read_gpus
from training.fields import Problems


def device_problems(config: Mapping[str, Any]) -> Problems:
    """Field → messages, for right values; empty when the session can compute here as it is meant to."""
    problems: Problems = {}
    asked, gpus = config.get("device"), config.get("gpus", 1)
    device = asked or settings.TRAINING_DEVICE
    if device == "cpu":
        count = 0
    elif asked or gpus > 1 or config.get("precision") == "fp16":
        count = len(read_gpus())
    else:
        return {}
    if asked and asked.startswith("cuda") and int(asked.partition(":")[2] or 0) >= count:
        problems["device"] = [f"device {asked} is not there: this machine has {_in_words(count)}"]
    if gpus > 1:
        if device == "cpu":
            problems["gpus"] = ["gpus is for GPUs, and this session computes on the CPU; leave it at 1"]
        elif gpus > count:
            problems["gpus"] = [f"gpus is {gpus}, and this machine has {_in_words(count)}"]
        elif ":" in device:
            problems["gpus"] = [f"gpus is {gpus}, and {device} is one of them; use cuda as device"]
    if config.get("precision") == "fp16" and not count:
        problems["precision"] = ["fp16 is for GPUs, and this session computes on the CPU; use bf16 or fp32"]
    return problems


def _in_words(count: int) -> str:
    if not count:
        return "no GPU"
    return "one GPU, cuda:0" if count == 1 else f"{count} GPUs, cuda:0 to cuda:{count - 1}"
