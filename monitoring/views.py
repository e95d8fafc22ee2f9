"""The machine, over HTTP."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from monitoring.models import Sample
from monitoring.serializers import SystemInfoSerializer

CPU_OVER_SECONDS = 0.1  # when the sampler is not there to tell


class SystemInfoView(APIView):
    scope = "system"

    @extend_schema(operation_id="system_info", responses=SystemInfoSerializer)
    def get(self, request: Request) -> Response:
        """What the machine is doing now: CPU, memory, disk and GPUs. The GPU figures are null without a GPU."""
        sample = Sample.objects.fresh() or Sample.measure(CPU_OVER_SECONDS)
        return Response(SystemInfoSerializer(sample).data)
