"""One life of a session's training, as each of the processes that train together does it."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from training.engine.checkpoint import Checkpoint, save_weights
from training.journal import JournalWriter, SessionDirectory
from training.spec import SessionSpec

if TYPE_CHECKING:
    from training.engine.world import World

logger = logging.getLogger(__name__)

WEIGHTS = "model.pt"


def train_share(
    spec: SessionSpec,
    directory: SessionDirectory,
    journal: JournalWriter,
    should_stop: Callable[[], bool],
    resume_from: Checkpoint | None,
    world: "World",
) -> None:
    """Train on from the checkpoint; the first rank writes the weights and says in the journal how it ended."""
    from training.engine.trainer import Trainer
    from training.engine.without_compiler import do_without_compiler

    do_without_compiler()
    trainer = Trainer(spec, directory, journal, should_stop, resume_from, world)
    ending = trainer.fit()
    if world.is_first:
        sha256 = save_weights(trainer.model.state_dict(), directory.weights / WEIGHTS)
        logger.info("weights saved; %s after %d epochs", ending, trainer.progress.epoch)
        if ending == "completed":
            trainer.write_report()
        journal.end(ending, weights=WEIGHTS, sha256=sha256)
