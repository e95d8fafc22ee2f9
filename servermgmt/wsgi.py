"""The web process."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from servermgmt.chunked import ChunkedBodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "servermgmt.settings")

application = ChunkedBodies(get_wsgi_application(), settings.MAX_UPLOAD_BYTES)
