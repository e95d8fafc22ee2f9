"""The pages that people look at. The numbers are those of the first rows of a fresh server."""

OPEN_PAGES = {
    "login": "/admin/login/",
}
MAIN_PAGES = {
    "index": "/admin/",
    "sessions": "/admin/training/trainingsession/",
    "session": "/admin/training/trainingsession/1/change/",
    "start": "/admin/training/trainingsession/start/",
    "start from a session": "/admin/training/trainingsession/start/?from={session_id}",
    "compare": "/admin/training/trainingsession/compare/?sessions={session_id},{other_id}",
    "queue": "/admin/training/queuecontrol/",
    "metrics": "/admin/training/metric/",
    "log": "/admin/training/logentry/",
    "datasets": "/admin/registry/dataset/",
    "dataset": "/admin/registry/dataset/1/change/",
    "models": "/admin/registry/model/",
    "model": "/admin/registry/model/1/change/",
    "keys": "/admin/authkeys/apikey/",
    "a new key": "/admin/authkeys/apikey/add/",
    "audit": "/admin/authkeys/authlog/",
    "samples": "/admin/monitoring/sample/",
}
