"""Uploads: how a file comes in over HTTP."""

from typing import Any

from django.core.files.uploadhandler import TemporaryFileUploadHandler


class NamelessUploadHandler(TemporaryFileUploadHandler):
    """Writes a file to disk as it arrives. Django's own gives the file there the ending that the client chose."""

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        super().new_file(field_name, "upload", *args, **kwargs)
