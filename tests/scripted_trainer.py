"""A trainer without PyTorch, for tests of everything around it: it speaks the journal and follows a script.

    python scripted_trainer.py SESSION_DIR --attempt N --lock-fd FD

The script is the value of TRAINER_SCRIPT: `complete` runs all epochs at once; `wait` does one epoch, then waits to
be stopped; `fail` does one epoch, then fails; `crash` dies without a word before the first epoch;
`crash-once` does one epoch, dies, and completes in the next attempt; `deaf` does one epoch and ignores SIGTERM;
`leave` completes, and leaves a process behind that holds on to its console; `say:LINE` writes a line into its journal
and ends. It prints which attempt it is.
Epochs that a checkpoint holds are not done again.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.journal import JournalWriter, Lock, SessionDirectory
from training.spec import SessionSpec


class ScriptedTrainer:
    def __init__(self, directory: SessionDirectory, attempt: int) -> None:
        self.directory = directory
        self.attempt = attempt
        self.spec = SessionSpec.read(directory.spec)
        self.journal = JournalWriter(directory.events, attempt)
        self.checkpoint = directory.checkpoints / "epochs_done"
        self.stop_asked = False

    def run(self, script: str) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if script == "deaf" else self.ask_for_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        done = int(self.checkpoint.read_text()) if self.checkpoint.exists() else 0
        self.journal.start(os.getpid(), f"epoch-{done}" if done else None)
        print("this is attempt", self.attempt, flush=True)
        if script == "crash":
            return 3
        if script.startswith("say:"):
            with self.directory.events.open("a", encoding="utf-8") as journal:
                journal.write(script.removeprefix("say:").replace("ATTEMPT", str(self.attempt)) + "\n")
            return 0
        if script == "leave":
            subprocess.Popen(["sleep", "60"], start_new_session=True)
        for epoch in range(done + 1, self.spec.config.epochs + 1):
            self.journal.epoch(epoch, loss=1 / epoch, accuracy=1 - 1 / epoch, val_loss=2 / epoch, val_accuracy=0.5)
            self.journal.log("INFO", f"epoch {epoch} is done")
            self.checkpoint.write_text(str(epoch))
            if script == "fail":
                self.journal.log("ERROR", "Traceback (most recent call last): scripted")
                self.journal.end("failed", failure_code="non_finite_loss", error_message="The loss is not finite.")
                return 1
            if script == "crash-once" and self.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            while script in ("wait", "deaf") and not self.stop_asked:
                time.sleep(0.005)
            if self.stop_asked:
                return self.finish("interrupted")
        return self.finish("completed")

    def ask_for_stop(self, *_: object) -> None:
        self.stop_asked = True

    def finish(self, ending: str) -> int:
        weights = b"weights of " + self.spec.session_id.encode()
        (self.directory.weights / "model.pt").write_bytes(weights)
        self.journal.end(ending, weights="model.pt", sha256=hashlib.sha256(weights).hexdigest())  # type: ignore[arg-type]
        return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--lock-fd", type=int, required=True)
    arguments = parser.parse_args()
    directory = SessionDirectory(arguments.directory)
    assert Lock.is_held(directory.lock)
    return ScriptedTrainer(directory, arguments.attempt).run(os.environ.get("TRAINER_SCRIPT", "complete"))


if __name__ == "__main__":
    sys.exit(main())
