"""Several processes that train one session, one for each GPU: torch's launcher starts them, and one failure ends all.

The trainer that the supervisor started holds the lock and launches them. They die with it, so that a free lock still
means that nobody trains. Recovery is the supervisor's, as with one process: the launcher restarts nothing.

    python -m training.engine.ranks SESSION_DIR …    one rank, as the launcher starts it
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from training.engine.attempt import train_share
from training.engine.checkpoint import Checkpoint
from training.engine.failures import TrainingFailure, as_failure
from training.engine.journal_log import console_is_gone, send_logs_to
from training.engine.parent import end_with_parent
from training.journal import JournalWriter, SessionDirectory, last_end
from training.spec import SessionSpec

logger = logging.getLogger("training.engine.ranks")


class RankDied(Exception):
    """A rank was killed, or lost another: no failure of the training, so another attempt may do better."""

    def __init__(self, statuses: Mapping[int, int]) -> None:
        """`statuses` by rank; a signal counts as negative."""
        self.was_killed = -signal.SIGKILL in statuses.values()
        super().__init__(f"ranks ended with {dict(statuses)}")


@dataclass(frozen=True)
class Meeting:
    """A folder inside the session's, where a trainer and its ranks meet: the wish to stop, and what went wrong."""

    folder: Path

    @classmethod
    def of(cls, directory: SessionDirectory) -> Self:
        return cls(directory.root / "ranks")

    @property
    def stop(self) -> Path:
        """Is there once the ranks are to end in order."""
        return self.folder / "stop"

    def create(self) -> None:
        """Make the folder anew: an older attempt may have left one."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def ask_to_stop(self) -> None:
        """Leave the wish; where nobody meets, nothing happens."""
        with contextlib.suppress(FileNotFoundError):
            self.stop.touch()

    def report(self, rank: int, error: Exception) -> None:
        """Leave a failure for the trainer to find."""
        failure = as_failure(error)
        details = {"at": time.time(), "rank": rank, "code": failure.code, "message": str(failure)}
        aside = self.folder / f".failure-{rank}.json.part"
        aside.write_text(json.dumps({**details, "traceback": traceback.format_exc()}), encoding="utf-8")
        aside.replace(self.folder / f"failure-{rank}.json")

    def first_failure(self) -> TrainingFailure | None:
        """What failed first: the others mostly fail because of it."""
        reports = [json.loads(path.read_bytes()) for path in self.folder.glob("failure-*.json")]
        if not reports:
            return None
        first = min(reports, key=lambda report: report["at"])
        failure = TrainingFailure(first["code"], first["message"])
        failure.add_note(f"In rank {first['rank']}:\n{first['traceback']}")
        return failure


def train_in_ranks(
    spec: SessionSpec,
    directory: SessionDirectory,
    attempt: int,
    should_stop: Callable[[], bool],
    resume_from: Checkpoint | None,
) -> None:
    """Launch the ranks and wait for their end, which the first of them writes into the journal.

    Raises TrainingFailure for what failed in a rank, RankDied when one was killed.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    meeting = Meeting.of(directory)
    meeting.create()
    if should_stop():
        meeting.ask_to_stop()  # the signal came before there was a place to meet
    for name in ("torch.distributed.elastic", "torch.distributed.launcher"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["OMP_NUM_THREADS"] = str(threads_of_a_rank(spec))
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=spec.config.gpus,
        run_id=spec.session_id,
        rdzv_backend="c10d",
        # A file and no port: what the launcher reads there it unpickles, and a port is open to others.
        rdzv_endpoint=str(meeting.folder / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(meeting.folder)),
        # The launcher would end the ranks at a SIGTERM; a stop is to reach them as a wish.
        signals_to_handle="SIGUSR1",
    )
    arguments = ["-m", __spec__.name, str(directory.root), "--attempt", str(attempt), "--parent", str(os.getpid())]
    if resume_from is not None:
        arguments += ["--resume-from", resume_from.name]
    try:
        elastic_launch(config, sys.executable)(*arguments)
    except ChildFailedError as error:
        if last_end(directory.events, attempt) is not None:
            return  # what failed after that changes nothing
        failure = meeting.first_failure()
        if failure is not None:
            raise failure from None
        raise RankDied({rank: failure.exitcode for rank, failure in error.failures.items()}) from None


def threads_of_a_rank(spec: SessionSpec) -> int:
    return max(1, spec.num_threads // spec.config.gpus)


def spec_of_a_rank(spec: SessionSpec, rank: int) -> SessionSpec:
    """The spec with this rank's GPU, or its part of the threads. Imports torch."""
    import torch

    on_cpu = spec.device == "cpu" or (spec.device == "auto" and not torch.cuda.is_available())
    device = "cpu" if on_cpu else f"cuda:{rank}"
    return replace(spec, config=replace(spec.config, device=device, num_threads=threads_of_a_rank(spec)))


def lost_another(error: Exception) -> bool:
    """Whether the error only says that another rank is gone."""
    import torch.distributed

    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)


def train_as_rank(directory: SessionDirectory, journal: JournalWriter, rank: int, resume_from: str | None) -> None:
    """Train as one of several. Raises what training raises."""
    import torch

    from training.engine.world import Ranks

    meeting = Meeting.of(directory)
    spec = spec_of_a_rank(SessionSpec.read(directory.spec), rank)
    checkpoint = Checkpoint.open(directory.checkpoints / resume_from) if resume_from else None
    world = Ranks(torch.device(spec.device))
    train_share(spec, directory, journal, meeting.stop.exists, checkpoint, world)
    world.close()


def main() -> int:
    """One rank: 0 when the training ended in order."""
    parser = argparse.ArgumentParser(prog="python -m training.engine.ranks", description="One rank of a session.")
    parser.add_argument("session_dir", type=Path)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="the process whose death ends this one")
    parser.add_argument("--resume-from", help="the name of a checkpoint")
    options = parser.parse_args()

    end_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    directory = SessionDirectory(options.session_dir)
    rank = int(os.environ["RANK"])
    journal = JournalWriter(directory.events, options.attempt)
    send_logs_to(journal if rank == 0 else None)
    try:
        train_as_rank(directory, journal, rank, options.resume_from)
    except Exception as error:
        if lost_another(error) or console_is_gone():
            traceback.print_exc()
        else:
            Meeting.of(directory).report(rank, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
