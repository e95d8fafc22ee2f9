"""The HTTP API as a client of the contract uses it."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

ROOT = "/api/v1"

Record = dict[str, Any]


def read(answer: Any) -> bytes:
    """What an answer holds. A file is read to its end, which closes it."""
    content: bytes = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content


class Api:
    """Calls that must succeed; they return what the answer holds."""

    def __init__(self, client: APIClient) -> None:
        self.client = client

    def get(self, path: str, **query: Any) -> Any:
        return self._succeed(self.client.get(ROOT + path, query))

    def get_all_pages(self, path: str, limit: int) -> list[list[Record]]:
        """The pages of a collection, each found through the one before."""
        url: str | None = f"{ROOT}{path}?limit={limit}"
        pages = []
        while url is not None:
            answer = self.client.get(url)
            pages.append(self._succeed(answer))
            link = re.fullmatch('<(.+)>; rel="next"', answer.headers.get("Link", ""))
            url = link[1] if link else None
        return pages

    def post(self, path: str, body: Any = None) -> Any:
        return self._succeed(self.client.post(ROOT + path, body, format="json"))

    def delete(self, path: str) -> Any:
        return self._succeed(self.client.delete(ROOT + path))

    def start(self, config: Mapping[str, Any]) -> str:
        """Start a session; returns its id."""
        session_id: str = self.post("/training/start", config)["session_id"]
        return session_id

    def status(self, session_id: str) -> Record:
        status: Record = self.get(f"/training/{session_id}/status")
        return status

    def upload_model(self, name: str, content: bytes, file_name: str = "model.pt") -> Record:
        return self._upload(f"/models?model_name={quote(name)}", content, file_name)

    def upload_dataset(self, name: str, content: bytes, file_name: str = "data") -> Record:
        return self._upload(f"/datasets?dataset_name={quote(name)}", content, file_name)

    def download_model(self, name: str) -> bytes:
        answer = self.client.get(f"{ROOT}/models/{quote(name)}")
        assert answer.status_code == 200
        return read(answer)

    def _upload(self, path: str, content: bytes, file_name: str) -> Record:
        file = SimpleUploadedFile(file_name, content)
        answer: Record = self._succeed(self.client.post(ROOT + path, {"file": file}, format="multipart"))
        return answer

    @staticmethod
    def _succeed(answer: Any) -> Any:
        assert answer.status_code == 200, answer.content
        return answer.json()
