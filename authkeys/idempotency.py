"""POSTs that are carried out once, however often they are sent: the first answer is kept, and given again.

Whoever got no answer to a POST cannot know whether it was carried out. With an Idempotency-Key he may send it again:
what the view changes and the answer that is kept are one transaction (authkeys/changes.py), and the death of the
process leaves both or neither.
"""

import fcntl
import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.utils.datastructures import MultiValueDict
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from authkeys.authentication import actor, asker
from authkeys.models import KeptAnswer

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
# What may be another answer a moment later, though the request is the same.
PASSING = {status.HTTP_401_UNAUTHORIZED, status.HTTP_403_FORBIDDEN, status.HTTP_429_TOO_MANY_REQUESTS}


def lasts(answer: HttpResponse) -> bool:
    """Whether this is what the same request is to be answered from now on."""
    return answer.status_code < status.HTTP_500_INTERNAL_SERVER_ERROR and answer.status_code not in PASSING


class KeyReused(Exception):
    """The key came with another request before."""

    def __init__(self) -> None:
        super().__init__(f"This {HEADER} came with another request before. Send a new key with a new request.")


class KeyInUse(Exception):
    """A request with this key is being carried out."""

    wait = 1  # seconds until it is worth asking again

    def __init__(self) -> None:
        super().__init__(f"A request with this {HEADER} is being carried out. Send it again later, to get its answer.")


@dataclass(frozen=True)
class Submission:
    """A request that is to be carried out once."""

    holder: str
    key: str
    fingerprint: str
    by: str
    endpoint: str

    @classmethod
    def read(cls, request: Request) -> "Submission":
        """Reads the body, too. Raises ValidationError for a bad key, and what the parsers raise for a bad body."""
        key = request.headers[HEADER].strip(" \t")
        if not re.fullmatch(rf"[ -~]{{1,{LONGEST_KEY}}}", key):
            raise ValidationError({HEADER: [f"must be 1 to {LONGEST_KEY} printable ASCII characters"]})
        return cls(asker(request), key, fingerprint(request), actor(request), request.path[:500])

    def earlier_answer(self) -> KeptAnswer | None:
        """What was answered when this came before, if it did. Raises KeyReused when something else did."""
        earlier = KeptAnswer.objects.live().filter(holder=self.holder, key=self.key).first()
        if earlier is not None and earlier.fingerprint != self.fingerprint:
            raise KeyReused
        return earlier

    def keep(self, answer: HttpResponse) -> None:
        """Give this answer from now on. Raises KeyInUse when another request took the key while this one took long."""
        KeptAnswer.objects.expired().filter(holder=self.holder, key=self.key).delete()
        first = {"status": answer.status_code, "headers": dict(answer.items()), "body": answer.content}
        _, is_first = KeptAnswer.objects.get_or_create(holder=self.holder, key=self.key, defaults=asdict(self) | first)
        if not is_first:
            raise KeyInUse

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep everybody else with this key out until the end of the block, or the death of the process.

        Raises KeyInUse when somebody else is in. A claim is a lock on a byte of a file, which the system takes back
        from the dead; the file itself stays empty. Each key has a byte of its own, as good as certainly.
        """
        digest = hashlib.sha256(f"{self.holder} {self.key}".encode()).digest()
        byte = int.from_bytes(digest[:7])  # where a file may have one
        # The lock belongs to the open file and not, as others do, to the process: threads keep each other out.
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        with (settings.DATA_DIR / "idempotency.lock").open("ab") as file:
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
            except BlockingIOError:
                raise KeyInUse from None
            yield


def fingerprint(request: Request) -> str:
    """The hash of what is asked for: path, query and body, of which the meaning counts and not how it is written."""
    body = request.data
    if isinstance(body, MultiValueDict):
        body = dict(body.lists())
    asked = json.dumps([request.get_full_path(), body], sort_keys=True, default=content_of)
    return hashlib.sha256(asked.encode()).hexdigest()


def content_of(file: UploadedFile) -> dict[str, str]:
    """What stands for a file in a fingerprint."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return {"sha256": digest.hexdigest()}
