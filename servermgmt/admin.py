"""The admin of the logins to the admin, which django-axes keeps."""

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin

from authkeys.permissions import ReadOnlyAdmin


@admin.register(AccessAttempt)
class FailedLoginAdmin(ReadOnlyAdmin):
    """The failures of the last minutes, which may have locked somebody out. `manage.py axes_reset` forgets them."""

    list_display = ["attempt_time", "username", "ip_address", "failures_since_start", "user_agent"]
    list_filter = ["attempt_time"]
    search_fields = ["username", "ip_address", "user_agent"]
    fields = ["attempt_time", "username", "ip_address", "failures_since_start", "user_agent", "path_info"]


@admin.register(AccessLog)
class LoginAdmin(ReadOnlyAdmin):
    """Who came in, and when."""

    list_display = ["attempt_time", "username", "ip_address", "logout_time", "user_agent"]
    list_filter = ["attempt_time"]
    search_fields = ["username", "ip_address", "user_agent"]
    fields = ["attempt_time", "username", "ip_address", "logout_time", "user_agent"]
