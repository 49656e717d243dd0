"""Resolve the models and the profile that a request asks for."""

from __future__ import annotations

from shared.contracts import Choice, JobRequest
from shared.errors import ModelRefused, UnknownModel
from shared.models.catalogue import Catalogue


def choose_models(catalogue: Catalogue, request: JobRequest) -> Choice:
    """The models that the request names, else its profile's except those that run on request only; plus its
    extra_models, and the source of every head among them.

    A cascade needs a profile that allows one, and models none of which has to see every picture.
    Raises UnknownModel for a missing profile or model, ModelRefused for a faulty one, and storage's errors.
    """
    available = catalogue.manifests()
    profile = catalogue.profile(request.profile)

    def runs_unasked(name: str) -> bool:
        return name not in available or profile.run.get(name, available[name].run) != "request"

    names = {*(request.models or filter(runs_unasked, profile.models)), *request.extra_models}
    names |= {source for name in names if name in available and (source := available[name].source)}
    if missing := sorted(names - set(available)):
        faults = catalogue.faults()
        for name in missing:
            if name in faults:
                raise ModelRefused(faults[name])
        raise UnknownModel(f"There is no model {', '.join(missing)}; there are {', '.join(available)}.")
    models = {name: available[name] for name in sorted(names)}
    choice = Choice(profile=profile, models=models, cascade=False)
    # A baseline or a rise needs the whole match, and so does a model that always runs but sees every picture.
    based = {signal.model for signal in profile.signals if signal.transform != "level"}
    needs_all = [name for name in choice.of(swept=False) if choice.run(name) == "always" or name in based]
    cascade = profile.cascade is not None and not request.exhaustive and not needs_all
    return choice.model_copy(update={"cascade": cascade})
