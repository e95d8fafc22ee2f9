"""A client of the contract, and datasets to train on."""

import io

import numpy as np
import pytest
from rest_framework.test import APIClient

from authkeys.models import APIKey
from registry.models import Dataset
from tests.properties.api import Api
from tests.properties.inputs import CONFIG


@pytest.fixture
def api(client: APIClient) -> Api:
    return Api(client)


@pytest.fixture
def datasets(db: None) -> None:
    """One dataset for each kind of problem; `inputs.FITTING` says what fits them."""
    classes = np.arange(6) % 2
    store("rows", np.ones((6, 4), np.float32), classes)
    store("pictures", np.zeros((6, 32, 32, 3), np.uint8), np.array(["cat", "dog"])[classes])
    store("measures", np.ones((6, 4), np.float32), np.arange(6) + 0.5)


@pytest.fixture
def existing(api: Api, datasets: None) -> dict[str, str]:
    """What the parameters in a path may stand for, so that there is something to lose."""
    api.upload_model("rows", b"weights")
    other = APIKey.objects.create_key("other")[0]
    return {"session_id": api.start(CONFIG), "name": "rows", "key_id": str(other.pk)}


def store(name: str, x: np.ndarray, y: np.ndarray) -> None:
    file = io.BytesIO()
    np.savez(file, x=x, y=y)
    Dataset.objects.store(name, [file.getvalue()])
