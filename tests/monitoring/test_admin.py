from django.test import Client
from django.urls import reverse

from monitoring.models import Sample
from monitoring.sampler import Sampler


def test_the_samples_are_listed_and_cannot_be_written(admin_client: Client) -> None:
    sample = Sampler().sample_once()
    page = admin_client.get(reverse("admin:monitoring_sample_changelist"))
    assert f"{sample.memory_percent:.0f} %" in page.content.decode()
    assert admin_client.get(reverse("admin:monitoring_sample_add")).status_code == 403
    delete = reverse("admin:monitoring_sample_delete", args=[sample.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Sample.objects.count() == 1
