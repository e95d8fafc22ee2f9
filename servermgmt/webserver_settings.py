"""How gunicorn serves: gunicorn --config python:servermgmt.webserver_settings."""

from typing import Any

wsgi_app = "servermgmt.wsgi"
worker_class = "servermgmt.webserver.JSONErrorWorker"
logger_class = "servermgmt.webserver.LineLogger"
workers = 2
threads = 32
keepalive = 30
graceful_timeout = 3
control_socket_disable = True

# What a request may be before its body: docs/api.md tells these.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 8190


def worker_exit(server: Any, worker: Any) -> None:
    """End the event streams as an answer ends, so that clients know it for whole, and come back."""
    from training.stream import broadcaster  # Django is set up in the worker, not before

    broadcaster.say_goodbye()
