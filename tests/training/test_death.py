"""What a trainer died of that left no word: told from what the kernel counts and what the disk takes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pytest_django import Settings

from tests.conftest import Script
from tests.training.conftest import MakeSession
from tests.training.test_supervisor import poll_until
from training import death
from training.death import Death, KernelsTale
from training.failures import REMEDIES
from training.models import TrainingSession
from training.state import State
from training.supervisor import Supervisor

BEFORE = KernelsTale("boot", 3)
KILLED, UNKNOWN = -9, None
OUT_OF_MEMORY = "was killed by the kernel for lack of memory in attempt 2"


@pytest.mark.parametrize(
    ("status", "before", "after", "disk_is_full", "code", "in_words"),
    [
        (KILLED, BEFORE, KernelsTale("boot", 4), False, "host_oom", OUT_OF_MEMORY),
        (UNKNOWN, BEFORE, KernelsTale("boot", 9), False, "host_oom", OUT_OF_MEMORY),
        (137, BEFORE, KernelsTale("boot", 4), True, "host_oom", OUT_OF_MEMORY),
        (KILLED, BEFORE, BEFORE, False, "crash_loop", "died in attempt 2 by SIGKILL"),
        (KILLED, BEFORE, KernelsTale("another", 4), False, "crash_loop", "died in attempt 2 by SIGKILL"),
        (KILLED, None, KernelsTale("boot", 4), False, "crash_loop", "died in attempt 2 by SIGKILL"),
        (KILLED, BEFORE, None, False, "crash_loop", "died in attempt 2 by SIGKILL"),
        (UNKNOWN, BEFORE, BEFORE, False, "crash_loop", "died in attempt 2"),
        (-11, BEFORE, KernelsTale("boot", 4), False, "crash_loop", "died in attempt 2 by SIGSEGV"),
        (-40, BEFORE, BEFORE, False, "crash_loop", "died in attempt 2 by signal 40"),
        (1, BEFORE, KernelsTale("boot", 4), False, "crash_loop", "died in attempt 2 with exit status 1"),
        (74, BEFORE, BEFORE, True, "disk_full", "died on a full disk in attempt 2 with exit status 74"),
        (UNKNOWN, None, None, True, "disk_full", "died on a full disk in attempt 2"),
    ],
)  # fmt: skip
def test_each_death_has_its_cause(
    status: int | None,
    before: KernelsTale | None,
    after: KernelsTale | None,
    disk_is_full: bool,
    code: str,
    in_words: str,
) -> None:
    found = Death.of(status, before, after, disk_is_full=disk_is_full)
    assert (found.code, found.in_words(2)) == (code, f"The trainer {in_words}")
    assert found.code in REMEDIES


def fake_proc(folder: Path, vmstat: str) -> Path:
    random = folder / "sys" / "kernel" / "random"
    random.mkdir(parents=True)
    (random / "boot_id").write_text("0f-1e\n")
    (folder / "vmstat").write_text(vmstat)
    return folder


@pytest.mark.parametrize(
    ("vmstat", "count"),
    [
        ("nr_free_pages 12\noom_kill 7\nswap_ra 0\n", 7),
        ("nr_free_pages 12\n", None),
        ("xoom_kill 7\n", None),
        ("", None),
    ],
)
def test_the_kernels_count_is_read_where_there_is_one(tmp_path: Path, vmstat: str, count: int | None) -> None:
    tale = KernelsTale.now(fake_proc(tmp_path / "proc", vmstat))
    assert tale == (None if count is None else KernelsTale("0f-1e", count))
    assert KernelsTale.now(tmp_path / "nowhere") is None


def test_this_machine_tells() -> None:
    tale = KernelsTale.now()
    assert tale is not None
    assert tale.boot_id
    assert not death.memory_ran_out(tale, tale)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"boot_id": "x"}', b'{"other": 1}', b"3"])
def test_what_was_kept_and_cannot_be_read_is_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / death.KEPT_AS
    assert KernelsTale.read(path) is None
    BEFORE.write(path)
    assert KernelsTale.read(path) == BEFORE
    path.write_bytes(content)
    assert KernelsTale.read(path) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write a file until no byte more is taken."""
    path = folder / "filling"
    with suppress(OSError), path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return path


def test_a_disk_is_full_when_it_takes_nothing_more(small_disk: Path) -> None:
    assert not death.is_full(small_disk)
    assert not death.is_full(small_disk / "nowhere")
    filling = fill(small_disk)
    assert death.is_full(small_disk)
    filling.unlink()
    assert not death.is_full(small_disk)
    with suppress(OSError):
        for number in range(100):
            (small_disk / str(number)).touch()
    assert death.is_full(small_disk)  # of inodes


@pytest.mark.django_db
def test_a_trainer_that_cannot_write_its_journal_died_of_the_full_disk(
    make_session: MakeSession, script: Script, settings: Settings, small_disk: Path
) -> None:
    settings.SESSIONS_DIR, settings.CRASH_ATTEMPTS = small_disk, 2
    script("crash-once")
    session = make_session(state=State.RUNNING)
    supervisor = Supervisor.take_up(session)
    supervisor.make_sure_of_spec()
    filling = fill(small_disk)
    poll_until(supervisor, lambda: session.has_ended)
    assert (session.state, session.failure_code, session.attempt) == (State.FAILED, "disk_full", 2)
    assert "full disk" in (session.error_message or "")
    assert session.remedy == REMEDIES["disk_full"]
    assert "full disk" in session.log_entries.get(level="WARNING").message
    filling.unlink()


@pytest.mark.django_db(transaction=True)
def test_a_session_that_cannot_begin_on_a_full_disk_says_so_and_begins_when_there_is_room(
    make_session: MakeSession, script: Script, settings: Settings, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.supervisor.PAUSE_AFTER_ERROR_SECONDS", 0.01)
    settings.SESSIONS_DIR = small_disk
    script("complete")
    session = make_session(state=State.RUNNING)
    supervisor = Supervisor.take_up(session)
    filling = fill(small_disk)
    for _ in range(5):
        assert supervisor.poll_whatever_happens()
    assert session.attempt == 0
    assert "No space left" in session.log_entries.get(level="WARNING").message
    filling.unlink()
    poll_until(supervisor, lambda: session.has_ended)
    assert (session.state, session.attempt) == (State.COMPLETED, 1)


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A memory cgroup too small for torch; whoever writes a process id into its cgroup.procs puts that into it."""
    name, limit_bytes = f"training-test-{os.getpid()}", 80 << 20
    for parent, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        folder = Path("/sys/fs/cgroup") / parent / name
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(limit_bytes))
        except OSError:
            folder.rmdir()
            continue
        for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
            with suppress(OSError):
                (folder / swap).write_text("0" if swap.endswith("max") else str(limit_bytes))
        yield folder
        folder.rmdir()
        return
    pytest.skip("a memory cgroup cannot be made here")


@pytest.mark.slow
@pytest.mark.django_db
def test_the_kernels_killing_for_lack_of_memory_is_recognised(
    make_session: MakeSession, settings: Settings, small_memory: Path
) -> None:
    """The real trainer in a cgroup in which importing torch takes more than there is; the second one is adopted."""
    settings.CRASH_ATTEMPTS = 2
    enter = f'echo $$ > {small_memory}/cgroup.procs && exec "$@"'
    settings.TRAINER_COMMAND = ["sh", "-c", enter, "sh", sys.executable, "-m", "training.engine"]
    session = make_session(state=State.RUNNING)
    supervisor = Supervisor.take_up(session)
    poll_until(supervisor, lambda: session.attempt == 2, 60)
    assert session.log_entries.get(level="WARNING").message.startswith(
        "The trainer was killed by the kernel for lack of memory in attempt 1."
    )
    trainer, console = supervisor.process, supervisor.console
    assert trainer is not None
    assert console is not None
    supervisor.lock.release()
    heir = Supervisor.take_up(TrainingSession.objects.get())
    poll_until(heir, lambda: heir.session.has_ended, 60)
    assert (heir.session.state, heir.session.failure_code) == (State.FAILED, "host_oom")
    assert heir.session.error_message == (
        "The trainer was killed by the kernel for lack of memory in attempt 2, 2 times without a new epoch."
    )
    assert heir.session.remedy == REMEDIES["host_oom"]
    assert trainer.wait() == KILLED
    console.wait()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")
def test_trainers_go_before_others_when_memory_runs_out(tmp_path: Path) -> None:
    """What starts them keeps its own place in the kernel's order."""
    code = (
        "from pathlib import Path; from training.engine.__main__ import go_first; "
        "go_first(); print(Path('/proc/self/oom_score_adj').read_text())"
    )
    for before, after in (("0", "500"), ("800", "800")):
        command = f'echo {before} > /proc/self/oom_score_adj; exec {sys.executable} -c "{code}"'
        printed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
        assert printed.strip() == after
