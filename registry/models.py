"""Datasets and models: a row each, and a file each that nobody but the row names."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from registry import formats
from registry.errors import InvalidName, NameTaken
from registry.files import IncomingFile, mark_leaving, receive, remove_leaving
from registry.formats import decoded

NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


class StoredFile(models.Model):
    """A file and what is known of it. Deleting the row deletes the file, once that is committed."""

    name = models.CharField(max_length=200, unique=True)
    stored_name = models.CharField(max_length=255)
    sha256 = models.CharField("SHA-256", max_length=64)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def require_free(cls, name: str) -> None:
        """Raises InvalidName or NameTaken when nothing may be registered under this name."""
        if not re.fullmatch(NAME, name):
            raise InvalidName(
                "A name is 1 to 100 letters, digits, dots, underscores and hyphens, and starts with a letter or digit."
            )
        if cls._default_manager.filter(name=name).exists():
            raise NameTaken(f"{name} is registered already. Choose another name.")

    @property
    def folder(self) -> Path:
        raise NotImplementedError

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.folder / self.stored_name

    @property
    def nonce(self) -> str:
        """What tells the file from all others, in the middle of its name."""
        return self.stored_name.removeprefix(f"{self.name}-").partition(".")[0]

    def remove_file(self) -> None:
        """Delete the file of a row that is deleted."""
        remove_leaving(self.path, self.nonce)

    @property
    def size_mb(self) -> float:
        """The size in units of 2**20 bytes, exact to a byte."""
        return round(self.size_bytes / 2**20, 6)

    @contextmanager
    def inserted_with(self, incoming: IncomingFile, suffix: str = "") -> Iterator[None]:
        """Insert the row, put its file in place, and do what the block does: all, or nothing. Raises NameTaken."""
        # Never used twice, so that a delete still under way cannot take the file of a new row of this name.
        self.stored_name = f"{self.name}-{incoming.nonce}{suffix}"
        self.size_bytes = incoming.size_bytes
        self.sha256 = incoming.sha256
        try:
            # Durable: the file is marked as unfinished only as long as its block lasts, and must be committed by then.
            with transaction.atomic(durable=True):
                self.save(force_insert=True)
                incoming.move_to(self.path)
                yield
        except BaseException as error:
            self.path.unlink(missing_ok=True)
            if isinstance(error, IntegrityError):
                raise NameTaken(f"{self.name} is registered already. Choose another name.") from None
            raise


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def store(self, name: str, chunks: Iterable[bytes], format: str | None = None) -> "Dataset":
        """As storing(), with nothing to do beside it."""
        with Dataset.storing(name, chunks, format) as dataset:
            return dataset


class Dataset(StoredFile):
    """Samples to train on, described by what the file was found to hold."""

    class Labels(models.TextChoices):
        NAMES = "names", "text classes"
        INTEGERS = "integers", "whole numbers"
        NUMBERS = "numbers", "real numbers"
        SETS = "sets", "sets of classes"
        TEXT = "text", "what comes next"

    format = models.CharField(max_length=16)
    dimensions = models.CharField(max_length=64, help_text="Of one sample: 28x28x1 for images, 64 for rows; or text.")
    sample_count = models.BigIntegerField(help_text="Of a text, its characters.")
    labels = models.CharField(max_length=16, choices=Labels)
    class_count = models.BigIntegerField(
        null=True, blank=True, help_text="Distinct labels; none for real numbers. Of a text, its distinct characters."
    )

    objects = DatasetQuerySet.as_manager()

    class Meta(StoredFile.Meta):
        db_table = "datasets"

    @property
    def folder(self) -> Path:
        return Path(settings.DATASETS_DIR)

    @classmethod
    @contextmanager
    def storing(cls, name: str, chunks: Iterable[bytes], format: str | None = None) -> Iterator["Dataset"]:
        """Register a dataset, of the format named or else of the one that its content shows.

        What the block does is in the same transaction. Raises InvalidName, NameTaken or InvalidDataset, and then keeps
        nothing.
        """
        cls.require_free(name)
        with receive(chunks, settings.DATASETS_DIR) as incoming:
            description = formats.describe(formats.read(incoming.path, format))
            dataset = cls(name=name, **asdict(description))
            with dataset.inserted_with(incoming, suffix=f".{description.format}"):
                yield dataset

    @property
    def decoded_folder(self) -> Path:
        """Where lies what was made of the file's content, and can be made again."""
        return self.folder / decoded.FOLDER / self.sha256

    def forget_decoded(self) -> None:
        """Delete what trainers kept of the dataset to read it faster, and what it looks like."""
        decoded.forget(self.folder / decoded.FOLDER, self.sha256)


class ModelQuerySet(models.QuerySet["Model"]):
    def store(self, name: str, chunks: Iterable[bytes], session_id: str = "") -> "Model":
        """As storing(), with nothing to do beside it."""
        with Model.storing(name, chunks, session_id) as model:
            return model


class Model(StoredFile):
    """The weights of a network: uploaded, or trained by a session."""

    session_id = models.CharField(max_length=32, blank=True, help_text="The session that trained it; none: uploaded.")

    objects = ModelQuerySet.as_manager()

    class Meta(StoredFile.Meta):
        db_table = "models"

    @property
    def folder(self) -> Path:
        return Path(settings.MODELS_DIR)

    @classmethod
    @contextmanager
    def storing(cls, name: str, chunks: Iterable[bytes], session_id: str = "") -> Iterator["Model"]:
        """Register a model, kept as bytes and opened by nobody. Raises InvalidName or NameTaken, keeping nothing.

        What the block does is in the same transaction. The name of a session's model is made by the server, and may be
        longer than that of an upload.
        """
        if not session_id:
            cls.require_free(name)
        with receive(chunks, settings.MODELS_DIR) as incoming:
            model = cls(name=name, session_id=session_id)
            with model.inserted_with(incoming, suffix=".pt" if session_id else ""):
                yield model


# Not an overridden delete(): the admin's bulk action and cascades do not call it.
@receiver(post_delete, sender=Dataset)
@receiver(post_delete, sender=Model)
def delete_file(instance: StoredFile, using: str, **kwargs: Any) -> None:
    # Robust: the row is gone, so the delete is done. A file that a broken disk keeps goes later, by its mark.
    mark_leaving(instance.path, instance.nonce)
    transaction.on_commit(instance.remove_file, using=using, robust=True)


@receiver(post_delete, sender=Dataset)
def forget_decoded(instance: Dataset, using: str, **kwargs: Any) -> None:
    transaction.on_commit(instance.forget_decoded, using=using)
