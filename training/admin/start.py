"""The page on which a session is started: anew, or as another one was, from its beginning or from a checkpoint."""

import re
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.generic import FormView
from unfold.views import UnfoldModelAdminViewMixin

from authkeys import audit
from authkeys.authentication import actor
from training.forms import FROM_CHECKPOINT, ConfigurationForm
from training.installation import CatalogueUnavailable, catalogue
from training.models import TrainingSession
from training.recovery import SESSION_ID
from training.repetition import CannotRepeat, resolved_configuration
from training.restart import CHANGEABLE, CHECKPOINT_NAME, NoCheckpoint, Restart, restarting
from training.spec import InvalidConfig, TrainingConfig
from training.steering import outlook

REDIRECT = 302


class StartView(UnfoldModelAdminViewMixin, FormView):  # type: ignore[type-arg]
    """`?from=SESSION_ID` begins with what that session trained; any other parameter fills in the field of its name."""

    title = "Start a session"
    template_name = "admin/training/trainingsession/start.html"
    permission_required = "training.add_trainingsession"
    form_class = ConfigurationForm
    parent: TrainingSession | None = None

    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            catalogue()
        except CatalogueUnavailable as error:
            messages.error(self.request, str(error))
            return redirect("admin:training_trainingsession_changelist")
        if "from" in self.request.GET:
            self.parent = find_session(self.request.GET["from"])
            self.title = f"Start from {self.parent}"
        return super().dispatch(*args, **kwargs)

    def get_initial(self) -> dict[str, Any]:
        return self.request.GET.dict()

    def get_form_kwargs(self) -> dict[str, Any]:
        options = super().get_form_kwargs() | {"catalogue": catalogue()}
        if self.parent is not None:
            options |= {"base": resolved_configuration(self.parent), "checkpoints": checkpoints_of(self.parent)}
        return options

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(**context, parent=self.parent, changeable=list(CHANGEABLE))

    def form_valid(self, form: ConfigurationForm) -> HttpResponse:
        try:
            session = self.queue(form)
        except InvalidConfig as refusal:
            form.show(refusal.errors)
        except NoCheckpoint as refusal:
            form.add_error(FROM_CHECKPOINT, str(refusal))
        except CannotRepeat as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(self.request, f"Session {session} {outlook(session)}.")
            return redirect("admin:training_trainingsession_change", session.pk)
        return self.form_invalid(form)

    def queue(self, form: ConfigurationForm) -> TrainingSession:
        """Queue what was typed, in one transaction with the row that says who did so."""
        by = actor(self.request)
        if self.parent is not None:
            with restarting(self.parent, self.wanted(form, self.parent), by) as session:
                audit.record(self.request, REDIRECT)
            return session
        with transaction.atomic():
            session = TrainingSession.objects.submit(form.configuration(), by)
            audit.record(self.request, REDIRECT)
        return session

    @staticmethod
    def wanted(form: ConfigurationForm, parent: TrainingSession) -> Restart:
        """How the parent is to be restarted. Raises InvalidConfig."""
        config, _ = TrainingSession.objects.accept(form.configuration())
        earlier = TrainingConfig.from_json(resolved_configuration(parent)).as_dict()
        changes = {name: value for name, value in config.as_dict().items() if value != earlier[name]}
        return Restart.read({"from_checkpoint": form.cleaned_data[FROM_CHECKPOINT] or None, "changes": changes})


def find_session(session_id: str) -> TrainingSession:
    if not re.fullmatch(SESSION_ID, session_id):
        raise Http404
    return get_object_or_404(TrainingSession.objects.select_related("dataset"), session_id=session_id)


def checkpoints_of(session: TrainingSession) -> list[str]:
    """The names of a session's checkpoints, the newest first."""
    names = (path.name for path in session.directory.checkpoints.glob("step-*"))
    return sorted((name for name in names if re.fullmatch(CHECKPOINT_NAME, name)), reverse=True)
