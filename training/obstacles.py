"""What may keep the first of the queue from starting, as far as the machine can tell: a full disk, a taken GPU."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
from django.conf import settings
from django.db.models import TextChoices

from monitoring.probes import GpuProcess, GpuReading, read_gpu_processes, read_gpus


class WaitingReason(TextChoices):
    """Why a queued session does not run yet."""

    QUEUE_PAUSED = "queue_paused", "the queue is paused"
    DISK_LOW = "disk_low", "the disk is nearly full"
    GPU_IN_USE = "gpu_in_use", "a GPU is in use by others"
    PLACE_TAKEN = "place_taken", "every place is taken"
    BEHIND_OTHERS = "behind_others", "others start before it"
    STARTING = "starting", "it starts now"


@dataclass(frozen=True)
class Waiting:
    """Why a session waits, and what for: sessions by their ids, anything else in words."""

    reason: WaitingReason
    waits_for: tuple[str, ...] = ()


def low_disk() -> Waiting | None:
    """The folders that sessions write to and whose disk is nearly full."""
    folders = (settings.SESSIONS_DIR, settings.MODELS_DIR, settings.DATABASE_PATH.parent)
    shortages = {shortage: None for folder in folders if (shortage := _shortage(folder))}
    return Waiting(WaitingReason.DISK_LOW, tuple(shortages)) if shortages else None


def _shortage(folder: os.PathLike[str]) -> str | None:
    """What the disk of a folder lacks, in words; None where it has enough, or where nobody asks for any."""
    least = settings.MIN_FREE_DISK_BYTES
    if not least:
        return None
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return f"the folder {folder}: {error.strerror}"
    free = disk.f_bavail * disk.f_frsize
    if free < least:
        return f"{least >> 20} MiB of free disk in {folder}, where {free >> 20} MiB are"
    # A file system that makes its inodes as it needs them counts none.
    return f"free inodes in {folder}" if disk.f_files and not disk.f_favail else None


def taken_gpus(config: Mapping[str, Any], own_trainers: Callable[[], set[int]]) -> Waiting | None:
    """The processes of others that fill a GPU which a session with this configuration needs.

    `own_trainers` tells the process ids of the trainers that live; what they started is theirs, too.
    """
    if settings.GPU_FOREIGN_PERCENT >= 100 or needs_no_gpu(config):
        return None
    holders: list[str] = []
    for number, gpu in enumerate(_visible(read_gpus())):
        if not _needs(config, number) or not gpu.memory_total_bytes:
            continue
        processes = read_gpu_processes(gpu.index)
        own = own_trainers() if processes else set()
        foreign = [process for process in processes if not _belongs_to(process, own)]
        held = sum(process.memory_bytes or 0 for process in foreign)
        if foreign and held >= gpu.memory_total_bytes * settings.GPU_FOREIGN_PERCENT / 100:
            holders += [f"{_in_words(process)} on GPU {gpu.index}" for process in foreign]
    return Waiting(WaitingReason.GPU_IN_USE, tuple(holders)) if holders else None


def needs_no_gpu(config: Mapping[str, Any]) -> bool:
    return _device(config) == "cpu"


def _device(config: Mapping[str, Any]) -> str:
    device: str = config["device"] or settings.TRAINING_DEVICE
    return device


def _visible(gpus: list[GpuReading]) -> list[GpuReading]:
    """Those that trainers see, in their order; none where they are named in a way that only CUDA understands."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return gpus
    by_number = {str(gpu.index): gpu for gpu in gpus}
    try:
        return [by_number[number.strip()] for number in listed.split(",")]
    except KeyError:
        return []


def _needs(config: Mapping[str, Any], number: int) -> bool:
    """Whether a session computes on this GPU: the one that it names, otherwise the first, or as many as it asks for."""
    _, _, named = _device(config).partition(":")
    return number == int(named) if named else number < config["gpus"]


def _belongs_to(process: GpuProcess, trainers: set[int]) -> bool:
    """Whether this is one of these trainers, or one that they started."""
    if process.pid in trainers:
        return True
    try:
        return any(parent.pid in trainers for parent in psutil.Process(process.pid).parents())
    except psutil.Error:
        return False  # gone, or of another container


def _in_words(process: GpuProcess) -> str:
    try:
        return f"process {process.pid} ({psutil.Process(process.pid).name()})"
    except psutil.Error:
        return f"process {process.pid}"
