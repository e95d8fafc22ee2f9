"""Every setting, from the environment, with the default that is right for a newcomer. docs/settings.md lists them."""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import environ
from django.urls import reverse_lazy

from authkeys.allowances import Rate
from servermgmt.database import database
from servermgmt.hosts import origins, own_hosts
from servermgmt.secret import is_weak, read_or_create_secret_key
from servermgmt.version import VERSION
from training.spec import Limits

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
Number = TypeVar("Number", int, float)
PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


def number(name: str, default: Number, kind: Callable[[str], Number], lowest: Number) -> Number:
    """A number from `lowest` up; anything else ends the start with one clear sentence."""
    text = env.str(name, default=str(default))
    try:
        value = kind(text)
        if not (text.isascii() and lowest <= value < float("inf")):
            raise ValueError
    except ValueError:
        sys.exit(f"{name} must be a number from {lowest} up, not {text!r}. Correct it in the environment.")
    return value


def number_range(name: str, default: tuple[Number, Number], kind: Callable[[str], Number]) -> tuple[Number, Number]:
    """A range written as LOWEST-HIGHEST, as in EPOCHS_RANGE=1-5000."""
    text = env.str(name, default="")
    if not text:
        return default
    try:
        lowest, highest = (kind(part) for part in text.split("-"))
        if not 0 < lowest <= highest:
            raise ValueError
    except ValueError:
        sys.exit(f"{name} must be two positive numbers, lowest first, written like 1-5000, not {text!r}.")
    return lowest, highest


def rate(name: str, default: str) -> Rate | None:
    """A rate written as REQUESTS/PERIOD, as in 6000/minute; `none` lets everything in."""
    text = env.str(name, default=default)
    if text == "none":
        return None
    requests, _, period = text.partition("/")
    if not (requests.isascii() and requests.isdigit() and int(requests[:12]) > 0 and period in PERIODS):
        sys.exit(
            f"{name} must be a number of requests in a {', '.join(PERIODS)}, like {default}, or none, not {text!r}."
        )
    return Rate(int(requests[:12]), PERIODS[period])


# --- Where things lie -------------------------------------------------------------------------------------------
# Relative paths stand below DATA_DIR.
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).expanduser().resolve()
DATABASE_PATH = DATA_DIR / env.str("DATABASE_PATH", default="api_data.db")
MODELS_DIR = DATA_DIR / env.str("MODELS_DIR", default="models")
DATASETS_DIR = DATA_DIR / env.str("DATASETS_DIR", default="datasets")
SESSIONS_DIR = DATA_DIR / env.str("SESSIONS_DIR", default="sessions")
UPLOADS_DIR = DATA_DIR / "uploads"
try:
    for folder in (DATABASE_PATH.parent, MODELS_DIR, DATASETS_DIR, SESSIONS_DIR, UPLOADS_DIR):
        folder.mkdir(parents=True, exist_ok=True)
    given_key = env.str("SECRET_KEY", default="")
    SECRET_KEY = given_key or read_or_create_secret_key(DATA_DIR / "secret_key")
except OSError as error:
    sys.exit(f"The server cannot write its data: {error}. Set DATA_DIR to a folder that it may write to.")

# --- Security ---------------------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
if is_weak(SECRET_KEY) and not DEBUG:
    sys.exit(
        "SECRET_KEY must be 50 random characters or more. Leave it out, and one is made in DATA_DIR/secret_key."
        if given_key
        else f"The secret key in {DATA_DIR / 'secret_key'} is empty or weak. Delete the file, and a new one is made."
    )
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[]) or own_hosts(env.str("API_HOST", default=""))
if "*" in ALLOWED_HOSTS and not DEBUG:
    sys.exit(
        "ALLOWED_HOSTS must name the hosts by which this server is called, as in train.example.org,10.0.0.5, not '*'. "
        "Leave it out, and it is this machine's own names and addresses."
    )
TRUSTED_PROXIES = number("TRUSTED_PROXIES", 0, int, lowest=0)  # the proxies between the clients and this server
KEY_RATE = rate("KEY_RATE", "18000/minute")
ADDRESS_RATE = rate("ADDRESS_RATE", "36000/minute")
FAILED_ATTEMPTS_RATE = rate("FAILED_ATTEMPTS_RATE", "5000/hour")
AUDIT_RETENTION_DAYS = number("AUDIT_RETENTION_DAYS", 365, int, lowest=0)  # 0 keeps all
API_KEYS = [key.strip() for key in env.list("API_KEYS", default=[]) if key.strip()]
# Behind a proxy that ends TLS: what browsers are to be told so that nothing goes without it again.
BEHIND_TLS = env.bool("BEHIND_TLS", default=False)
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^health/?$"]  # the proxy asks without TLS whether the server is there
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_HTTPONLY = True  # forms and scripts have the token from their page
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[]) or (origins(ALLOWED_HOSTS) if BEHIND_TLS else [])
CSRF_FAILURE_VIEW = "servermgmt.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
# A new key is shown in a message: in a cookie it is gone once shown, in the session it would lie in the database.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

# --- Applications -----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "servermgmt.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_q",
    "axes",
    "authkeys",
    "registry",
    "monitoring",
    "training",
    "servermgmt",
]
MIDDLEWARE = [
    "servermgmt.middleware.RequestIdMiddleware",
    "servermgmt.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "servermgmt.middleware.TrailingSlashMiddleware",
    "servermgmt.middleware.DurabilityMiddleware",
    "servermgmt.middleware.AuditMiddleware",
    "servermgmt.middleware.SessionCookieMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "servermgmt.middleware.AdminChangesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "servermgmt.urls"
WSGI_APPLICATION = "servermgmt.wsgi.application"
APPEND_SLASH = False
LOGIN_REDIRECT_URL = "admin:index"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "servermgmt" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Whoever guesses at the admin's password is slowed down, by name and address, over all processes.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = number("ADMIN_LOGIN_FAILURES", 10, int, lowest=1)
AXES_COOLOFF_TIME = timedelta(minutes=number("ADMIN_LOGIN_COOLOFF_MINUTES", 15, int, lowest=1))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or a neighbour could keep somebody out for ever
AXES_CLIENT_IP_CALLABLE = "servermgmt.lockout.login_address"
AXES_LOCKOUT_CALLABLE = "servermgmt.lockout.answer_locked"
AXES_ENABLE_ADMIN = False  # servermgmt/admin.py shows its tables
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database ---------------------------------------------------------------------------------------------------
DATABASES = {"default": database(env.str("DATABASE_URL", default=""), DATABASE_PATH)}

# --- Time and language ------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False

# --- Static files and uploads -----------------------------------------------------------------------------------
STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True  # static files are served from the packages themselves: nothing to collect first
# Uploads go to disk as they arrive, on the same file system on which they will stay.
FILE_UPLOAD_HANDLERS = ["registry.uploads.UnnamedUploadHandler"]
FILE_UPLOAD_TEMP_DIR = UPLOADS_DIR
MAX_UPLOAD_BYTES = number("MAX_UPLOAD_BYTES", 8 << 30, int, lowest=1)
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATA_UPLOAD_MAX_NUMBER_FILES = 4
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000  # the admin ticks as many rows at once

# --- The API ----------------------------------------------------------------------------------------------------
IDEMPOTENCY_HOURS = number("IDEMPOTENCY_HOURS", 24, int, lowest=1)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "authkeys.authentication.KeyAuthentication",
        "authkeys.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["authkeys.permissions.HasScope", "servermgmt.request_target.ClearTarget"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "servermgmt.negotiation.StaffSeeHtmlNegotiation",
    "DEFAULT_RENDERER_CLASSES": [
        "servermgmt.renderers.JSONRenderer",
        "servermgmt.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["servermgmt.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "servermgmt.pagination.LinkHeaderPagination",
    "DEFAULT_SCHEMA_CLASS": "servermgmt.openapi.OperationSchema",
    "EXCEPTION_HANDLER": "servermgmt.errors.answer_exception",
    "URL_FORMAT_OVERRIDE": None,
    "PAGE_SIZE": 1000,
    "COERCE_DECIMAL_TO_STRING": False,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Server Management API",
    "DESCRIPTION": (
        "Runs, watches and manages PyTorch training on one machine.\n\n"
        "A key goes with every request that is not open, and needs the scope that the operation names, in its security "
        "and as `x-required-scope`. Every error has the one body, whatever raised it. A path that leads nowhere is a "
        "404, and a method that a path does not know a 405 with `Allow`; to whoever sends no valid key both are a 401. "
        "Whole numbers are sent without a decimal point. "
        "Collections are bare arrays, and `Link` leads to the next page. An answer may carry more fields than are "
        "described here; it never lacks one."
    ),
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": "/", "description": "The server that this description comes from."}],
    "TAGS": [
        {"name": "sessions", "description": "Start trainings, watch them, steer them."},
        {"name": "queue", "description": "What waits and where, and whether anything may start."},
        {"name": "architectures", "description": "What can be trained."},
        {"name": "datasets", "description": "What there is to train on."},
        {"name": "models", "description": "Weights: uploaded, or trained here."},
        {"name": "system", "description": "The machine."},
        {"name": "keys", "description": "Who may use the server, and for what."},
        {"name": "audit", "description": "Who has asked for what, and what was answered."},
        {"name": "server", "description": "Open to everybody: whether the server is there, and what it can do."},
    ],
    # A request and an answer differ: what is asked for may be left out, and what is answered is always there.
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "State": "training.state.State",
        "Health": "training.state.Health",
        "Action": "training.state.Action",
        "WaitingReason": "training.obstacles.WaitingReason",
        "Labels": "registry.models.Dataset.Labels",
        "Reason": "authkeys.models.Reason",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "validatorUrl": None,
    },  # the default validator is somebody else's server
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "AUTHENTICATION_WHITELIST": ["authkeys.authentication.KeyAuthentication"],
}

MAX_EVENT_STREAMS = number("MAX_EVENT_STREAMS", 500, int, lowest=1)  # of one web process

# --- Training ---------------------------------------------------------------------------------------------------
MAX_CONCURRENT_SESSIONS = number("MAX_CONCURRENT_SESSIONS", 1, int, lowest=1)
TRAINING_LIMITS = Limits(
    learning_rate=number_range("LEARNING_RATE_RANGE", Limits.learning_rate, float),
    batch_size=number_range("BATCH_SIZE_RANGE", Limits.batch_size, int),
    epochs=number_range("EPOCHS_RANGE", Limits.epochs, int),
)
TRAINING_DEVICE = env.str("TRAINING_DEVICE", default="auto")
ARCHITECTURE_MODULES = env.list("ARCHITECTURE_MODULES", default=[])
TRAINING_SEED = number("TRAINING_SEED", 0, int, lowest=0)
TRAINER_COMMAND = [sys.executable, "-m", "training.engine"]
WARM_TRAINERS = env.bool("WARM_TRAINERS", default=False)
STOP_GRACE_SECONDS = number("STOP_GRACE_SECONDS", 30.0, float, lowest=0.0)
CHECKPOINT_EVERY_SECONDS = number("CHECKPOINT_EVERY_SECONDS", 60.0, float, lowest=0.0)
MAX_CONSOLE_BYTES = number("MAX_CONSOLE_BYTES", 50_000_000, int, lowest=4096)
STALE_AFTER_SECONDS = number("STALE_AFTER_SECONDS", 60.0, float, lowest=1.0)
CRASH_ATTEMPTS = number("CRASH_ATTEMPTS", 3, int, lowest=1)
VALIDATE_SECONDS = number("VALIDATE_SECONDS", 60.0, float, lowest=1.0)
SESSION_RETENTION_DAYS = number("SESSION_RETENTION_DAYS", 7, int, lowest=0)  # 0 keeps all
MIN_FREE_DISK_BYTES = number("MIN_FREE_DISK_BYTES", 1 << 30, int, lowest=0)  # 0 starts sessions on any disk
GPU_FOREIGN_PERCENT = number("GPU_FOREIGN_PERCENT", 50.0, float, lowest=0.0)  # 100 shares a GPU with anybody

# --- Monitoring -------------------------------------------------------------------------------------------------
SAMPLE_EVERY_SECONDS = number("SAMPLE_EVERY_SECONDS", 5.0, float, lowest=0.1)
SAMPLE_RETENTION_DAYS = number("SAMPLE_RETENTION_DAYS", 7, int, lowest=1)

# --- The workers ------------------------------------------------------------------------------------------------
# Two clusters: "default" does short chores on a schedule, "training" supervises sessions, one worker for each.
Q_CLUSTER = {
    "name": "default",
    "orm": "default",
    "workers": 1,
    "queue_limit": 4,
    "timeout": 300,
    "retry": 420,
    "ack_failures": True,
    "max_attempts": 3,
    "catch_up": False,
    "poll": 0.2,
    "guard_cycle": 1,
    "recycle": 200,
    "save_limit": 100,
    "ALT_CLUSTERS": {
        "training": {
            "workers": MAX_CONCURRENT_SESSIONS,
            "queue_limit": 1,
            "timeout": 600,
            "retry": 3600,
            "max_attempts": 1,
            "scheduler": False,
            "poll": 0.05,
        }
    },
}

# --- Logging ----------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "servermgmt.logs.LineFormatter",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},  # a stranger must not fill the log with tracebacks
        "django-q": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "axes": {"level": "ERROR"},  # it logs what a client calls itself as it came
    },
}

# --- The admin's look -------------------------------------------------------------------------------------------
FIRST_PAGES = {
    "Training": [{"title": "Dashboard", "icon": "space_dashboard", "link": reverse_lazy("admin:index")}],
}
START_PAGE = {
    "title": "Start a session",
    "icon": "play_circle",
    "link": reverse_lazy("admin:training_trainingsession_start"),
    "permission": lambda request: request.user.has_perm("training.add_trainingsession"),
}
UNFOLD = {
    "SITE_TITLE": "Training server",
    "SITE_HEADER": "Training server",
    "SITE_SYMBOL": "model_training",
    "SITE_FAVICONS": [{"rel": "icon", "href": "data:,"}],
    "STYLES": [lambda request: f"{STATIC_URL}servermgmt/admin.css"],
    "DASHBOARD_CALLBACK": "servermgmt.dashboard.add_dashboard",
    "SIDEBAR": {
        "navigation": [
            {
                "title": title,
                "separator": True,
                "items": FIRST_PAGES.get(title, [])
                + [
                    {"title": name, "icon": icon, "link": reverse_lazy(f"admin:{table}_changelist")}
                    for name, icon, table in pages
                ]
                + ([START_PAGE] if title == "Training" else []),
            }
            # What is looked at most often comes first.
            for title, pages in {
                "Training": [
                    ("Sessions", "model_training", "training_trainingsession"),
                    ("Queue", "low_priority", "training_queuecontrol"),
                    ("Metrics", "show_chart", "training_metric"),
                    ("Log", "notes", "training_logentry"),
                    ("Transitions", "swap_horiz", "training_transition"),
                ],
                "Registry": [
                    ("Datasets", "database", "registry_dataset"),
                    ("Models", "neurology", "registry_model"),
                ],
                "Machine": [
                    ("Samples", "monitoring", "monitoring_sample"),
                    ("Scheduled tasks", "schedule", "django_q_schedule"),
                    ("Failed tasks", "error", "django_q_failure"),
                ],
                "Access": [
                    ("API keys", "key", "authkeys_apikey"),
                    ("Authentication attempts", "policy", "authkeys_authlog"),
                    ("Kept answers", "replay", "authkeys_keptanswer"),
                    ("Users", "person", "auth_user"),
                    ("Logins", "login", "axes_accesslog"),
                    ("Failed logins", "lock", "axes_accessattempt"),
                ],
            }.items()
        ]
    },
}
