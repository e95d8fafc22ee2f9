"""Uploads: how a file comes in over HTTP."""

import tempfile
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from rest_framework.parsers import MultiPartParser

from registry.errors import TooLarge

# What a multipart body may hold beside its file.
OVERHEAD_BYTES = 1 << 16


class UploadParser(MultiPartParser):
    """A multipart body that is no larger than this installation takes."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The body's fields and files. Raises TooLarge before it is read, by the length that it says it has."""
        request = (parser_context or {})["request"]
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_UPLOAD_BYTES + OVERHEAD_BYTES:
            raise TooLarge(f"A file may be {settings.MAX_UPLOAD_BYTES} bytes at most.")
        try:
            return super().parse(stream, media_type, parser_context)
        except BaseException:
            for handler in request.upload_handlers:
                handler.upload_interrupted()  # what a client did not send to its end takes no room from now on
            raise


class UnnamedUploadHandler(FileUploadHandler):
    """Writes a file to disk as it arrives, under no name: whatever kills the process, the system frees it.

    A disk that refuses is told once the body has been read, since a client that still sends hears no answer.
    """

    file: UploadedFile
    refusal: OSError | None = None

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        try:
            # Without a buffer, so that nothing is left to write, and to fail, when it is closed.
            file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, buffering=0)  # noqa: SIM115
        except OSError as error:
            self.refuse(error)
        self.file = UploadedFile(file, "upload", self.content_type, 0, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        left = memoryview(raw_data)
        try:
            while left:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.refuse(error)

    def refuse(self, error: OSError) -> None:
        """Have the parser read on without us. Raises SkipFile, upon which the parser closes the file."""
        self.refusal = error
        raise SkipFile from error

    def file_complete(self, file_size: int) -> UploadedFile:
        self.file.seek(0)
        self.file.size = file_size
        return self.file

    def upload_interrupted(self) -> None:
        if hasattr(self, "file"):
            self.file.close()

    def upload_complete(self) -> None:
        if self.refusal is not None:
            raise self.refusal
