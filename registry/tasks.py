"""What django-q2 calls."""

from django.conf import settings

from registry.files import remove_unfinished


def remove_unfinished_uploads() -> int:
    """Free what uploads took that were cut off by the death of the web process."""
    folders = (settings.DATASETS_DIR, settings.MODELS_DIR)
    # In the folder of uploads everything is on its way.
    return sum(remove_unfinished(folder) for folder in folders) + remove_unfinished(settings.UPLOADS_DIR, suffix="")
