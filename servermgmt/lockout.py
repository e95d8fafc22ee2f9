"""What django-axes, which counts the failed logins to the admin, asks of us. It locks a name for an address."""

import ipaddress
import logging
import math
from collections.abc import Mapping
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from authkeys.addresses import client_address
from servermgmt.errors import CODES, Problem, answer

logger = logging.getLogger(__name__)


def login_address(request: HttpRequest) -> str | None:
    """The address under which an attempt is counted, as axes can store it; all that have none are counted together."""
    address = client_address(request).partition("%")[0]  # databases know no scope, as in fe80::1%eth0
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def answer_locked(request: HttpRequest, response: HttpResponse, credentials: Mapping[str, Any]) -> HttpResponse:
    """The answer to a login that is not tried, in place of the form."""
    [attempts] = AxesDatabaseHandler().get_user_attempts(request, credentials)
    newest = attempts.aggregate(newest=Max("attempt_time"))["newest"] or timezone.now()
    left = newest + settings.AXES_COOLOFF_TIME - timezone.now()
    seconds = max(1, math.ceil(left.total_seconds()))
    logger.warning("login of %r from %s refused: too many failures", credentials["username"], login_address(request))
    message = f"Too many logins with this name have failed. Try again in {math.ceil(seconds / 60)} minutes."
    return answer(Problem(429, CODES[429], message, headers={"Retry-After": str(seconds)}))
