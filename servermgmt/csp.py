"""What browsers may do with an answer of this server, and what they may not: its Content-Security-Policy.

Nowhere is `unsafe-inline` allowed. Scripts come from this server's files alone; a style that stands in a page bears the
nonce of its request.
"""

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Policy = dict[str, list[object]]

# JSON, files and all else that is no page: there is nothing that it could need.
NOTHING: Policy = {"default-src": [NONE], "frame-ancestors": [NONE]}

PAGE: Policy = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF, NONCE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "worker-src": [SELF, "blob:"],  # in which ReDoc searches
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
}

# The admin's look is made of Alpine, which compiles the attributes of its elements.
ADMIN: Policy = PAGE | {"script-src": [SELF, UNSAFE_EVAL]}

PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """Gives each answer the policy of its kind, and pages no access to the devices of whoever looks at them."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        if not report_only:
            parts.config = policy_of(request, response)
        return parts

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["Permissions-Policy"] = PERMISSIONS
        return super().process_response(request, response)


def policy_of(request: HttpRequest, response: HttpResponseBase) -> Policy:
    if not response.get("Content-Type", "").startswith("text/html"):
        return NOTHING
    return ADMIN if request.path_info.startswith("/admin/") else PAGE
