"""Registers a dataset from a file on this machine."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.errors import InvalidName, NameTaken
from registry.files import read_chunks
from registry.formats import FORMATS, InvalidDataset
from registry.models import Dataset


class Command(BaseCommand):
    help = "Register a dataset from a file: csv, JSON, npy, npz, text, or a zip or tar.gz archive of images."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name to register it under")
        parser.add_argument("path", type=Path, help="the file; it is copied")
        parser.add_argument("--format", choices=FORMATS, help="what the file is; without it, its content decides")

    def handle(self, *args: Any, name: str, path: Path, format: str | None, **options: Any) -> None:
        try:
            dataset = Dataset.objects.store(name, read_chunks(path), format)
        except OSError as error:
            raise CommandError(f"{path} cannot be imported: {error.strerror}.") from error
        except InvalidDataset as error:
            raise CommandError(f"{path} is no dataset: {error}.") from error
        except (InvalidName, NameTaken) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{dataset.name}: {describe(dataset)}, {dataset.format}, {dataset.size_mb:.3f} MiB, in {dataset.path}"
        )


def describe(dataset: Dataset) -> str:
    """What the dataset holds, in words."""
    if dataset.labels == Dataset.Labels.TEXT:
        return f"a text of {dataset.sample_count} characters, {dataset.class_count} of them different"
    classes = f" in {dataset.class_count} classes" if dataset.class_count else ""
    return f"{dataset.sample_count} samples of {dataset.dimensions}, labels are {dataset.get_labels_display()}{classes}"
