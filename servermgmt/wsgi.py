"""The web process."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from servermgmt.chunked import ChunkedBodies
from servermgmt.readable_bodies import ReadableBodies

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "servermgmt.settings")

application = ReadableBodies(ChunkedBodies(get_wsgi_application(), settings.MAX_UPLOAD_BYTES))
