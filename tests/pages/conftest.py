"""Members of staff who may see some things and not others, and the sessions that other tests make, too."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client

from tests.training.conftest import dataset, make_session

__all__ = ["dataset", "make_session"]

Staff = Callable[..., Client]


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def staff(db: None) -> Staff:
    def log_in(*permissions: str) -> Client:
        """A browser of a member of staff who has these permissions, by their codenames, and no other."""
        user = User.objects.create_user("ada", password="a password of the tests", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return log_in
