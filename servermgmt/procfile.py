"""Runs the processes of the Procfile together: python -m servermgmt.procfile. When one ends, all end."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from honcho.environ import expand_processes, parse_procfile
from honcho.manager import Manager
from honcho.printer import Message, Printer

REPOSITORY = Path(__file__).resolve().parent.parent


class Runner(Manager):  # type: ignore[misc]
    """honcho's Manager, made to end in order whenever it is told to.

    As it comes, a signal is carried out where it strikes: while a process is being started, or a line printed,
    that raises and leaves the processes behind. Here it only leaves a wish, for which the loop looks.
    """

    stop_wanted = False

    def _start(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.request_stop)
        super()._start()

    def request_stop(self, number: int, _frame: object) -> None:
        self.returncode = 128 + number
        self.stop_wanted = True

    def _any_stopped(self) -> bool:
        return self.stop_wanted or super()._any_stopped()


class PatientPrinter(Printer):  # type: ignore[misc]
    """Goes on when nobody reads any more, as after `make run | head`, or when the terminal was closed."""

    def write(self, message: Message) -> None:
        with suppress(OSError):
            super().write(message)


def main() -> int:
    """Start every process, with this Python's programs first on the PATH; returns when the last has ended."""
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    runner = Runner(PatientPrinter(sys.stdout))
    for process in expand_processes(parse_procfile((REPOSITORY / "Procfile").read_text()).processes):
        runner.add_process(process.name, process.cmd, env=environment | process.env, cwd=REPOSITORY)
    runner.loop()
    return int(runner.returncode)


if __name__ == "__main__":
    sys.exit(main())
