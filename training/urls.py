"""The paths of sessions, events and architectures, below /api/v1/."""

from rest_framework.routers import SimpleRouter

from training.architecture_views import ArchitectureViewSet
from training.event_views import EventViewSet
from training.queue_views import QueueViewSet
from training.views import SessionViewSet

router = SimpleRouter(trailing_slash=False)
# Before the sessions, so that queue is never taken for the id of one.
router.register("training/queue", QueueViewSet, basename="queue")
router.register("training", SessionViewSet, basename="training")
router.register("events", EventViewSet, basename="events")
router.register("architectures", ArchitectureViewSet, basename="architectures")
urlpatterns = router.urls
