"""The paths of keys and the audit log, below /api/v1/."""

from rest_framework.routers import SimpleRouter

from authkeys.views import AuditViewSet, KeyViewSet

router = SimpleRouter(trailing_slash=False)
router.register("keys", KeyViewSet, basename="keys")
router.register("audit", AuditViewSet, basename="audit")
urlpatterns = router.urls
