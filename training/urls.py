"""The paths of sessions and architectures, below /api/v1/."""

from rest_framework.routers import SimpleRouter

from training.architecture_views import ArchitectureViewSet
from training.views import SessionViewSet

router = SimpleRouter(trailing_slash=False)
router.register("training", SessionViewSet, basename="training")
router.register("architectures", ArchitectureViewSet, basename="architectures")
urlpatterns = router.urls
