"""The paths of sessions, below /api/v1/."""

from rest_framework.routers import SimpleRouter

from training.views import SessionViewSet

router = SimpleRouter(trailing_slash=False)
router.register("training", SessionViewSet, basename="training")
urlpatterns = router.urls
