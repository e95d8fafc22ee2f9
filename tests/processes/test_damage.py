"""The newest checkpoint is damaged between the death of a trainer and the next attempt."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes.campaign import CONFIG
from tests.processes.history import History
from tests.processes.server import Server, wait_for
from training.journal import read_events

pytestmark = pytest.mark.slow

Damage = Callable[[Path, random.Random], None]


def truncate(checkpoint: Path, chance: random.Random) -> None:
    state = checkpoint / "state.pt"
    with state.open("r+b") as file:
        file.truncate(chance.randrange(state.stat().st_size))


def zero_the_end(checkpoint: Path, chance: random.Random) -> None:
    state = checkpoint / "state.pt"
    size = state.stat().st_size
    zeros = chance.randrange(100, size)  # the last few bytes of a zip archive are zero anyway
    with state.open("r+b") as file:
        file.seek(size - zeros)
        file.write(bytes(zeros))


def flip_a_bit(checkpoint: Path, chance: random.Random) -> None:
    state = bytearray((checkpoint / "state.pt").read_bytes())
    state[chance.randrange(len(state))] ^= 1 << chance.randrange(8)
    (checkpoint / "state.pt").write_bytes(state)


def delete_the_manifest(checkpoint: Path, chance: random.Random) -> None:
    (checkpoint / "manifest.json").unlink()


def empty_the_manifest(checkpoint: Path, chance: random.Random) -> None:
    (checkpoint / "manifest.json").write_bytes(b"")


def delete_the_state(checkpoint: Path, chance: random.Random) -> None:
    (checkpoint / "state.pt").unlink()


def delete_it(checkpoint: Path, chance: random.Random) -> None:
    shutil.rmtree(checkpoint)


DAMAGES: list[Damage] = [
    truncate,
    zero_the_end,
    flip_a_bit,
    delete_the_manifest,
    empty_the_manifest,
    delete_the_state,
    delete_it,
]


def events(server: Server, session_id: str, kind: str) -> list[dict[str, Any]]:
    journal = server.data_dir / "sessions" / session_id / "events.jsonl"
    return [event for event in read_events(journal, 0, limit=1 << 30).events if event["event"] == kind]


def kill_and_damage(server: Server, session_id: str, damage: Callable[[list[Path]], None]) -> None:
    """Kill the trainer while its supervisor looks away, let its checkpoints be damaged, newest last, and wait."""
    known = len(server.epochs(session_id))
    server.wait_for_epoch(session_id, known + 2)  # three deaths without a new epoch would be the end
    checkpoints = server.data_dir / "sessions" / session_id / "checkpoints"
    wait_for(lambda: len(list(checkpoints.glob("step-*"))) >= 2, what="a second checkpoint")
    supervisor = wait_for(lambda: server.supervisor_of(session_id), what="a supervisor")
    supervisor.suspend()
    attempts = len(events(server, session_id, "start"))
    server.kill_trainer()
    damage(sorted(checkpoints.glob("step-*")))
    supervisor.resume()
    wait_for(lambda: len(events(server, session_id, "start")) > attempts, what="the next attempt")


def test_a_damaged_checkpoint_is_passed_over_and_the_session_ends_with_the_same_bytes(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    config = CONFIG | {"epochs": 120}
    history = History(server, most_at_once=1)
    undisturbed = server.submit(**config)
    history.note_start(undisturbed)
    assert server.wait_for_end(undisturbed)["state"] == "completed"
    history.take_as_undisturbed(undisturbed)

    session_id = server.submit(**config)
    history.note_start(session_id)
    chance = random.Random(7)
    for damage in DAMAGES:
        older = ""

        def damage_the_newest(checkpoints: list[Path], damage: Damage = damage) -> None:
            nonlocal older
            older = checkpoints[-2].name
            damage(checkpoints[-1], chance)

        kill_and_damage(server, session_id, damage_the_newest)
        assert events(server, session_id, "start")[-1]["resumed_from"] == older, damage.__name__
    assert server.wait_for_end(session_id)["state"] == "completed"
    assert server.status(session_id)["attempt"] == 1 + len(DAMAGES)
    history.check_everything()
    history.client.close()
    assert not history.violations

    # Without any checkpoint that is whole it says so, and does not start over as if nothing had been there.
    session_id = server.submit(**config | {"epochs": 1000})
    server.wait_for_epoch(session_id, 1)

    def damage_all(checkpoints: list[Path]) -> None:
        for checkpoint in checkpoints:
            truncate(checkpoint, chance)

    kill_and_damage(server, session_id, damage_all)
    status = server.wait_for_end(session_id)
    assert (status["state"], status["failure_code"]) == ("failed", "no_valid_checkpoint")
    assert server.epochs(session_id) == list(range(1, status["current_epoch"] + 1))
