"""Which models and which profile a request asks for."""

from __future__ import annotations

from shared.contracts import (
    Choice,
    JobRequest,
)
from shared.errors import ModelRefused, UnknownModel
from shared.models.catalogue import Catalogue


def choose(catalogue: Catalogue, request: JobRequest) -> Choice:
    """What a request asks for: its own models, else its profile's but for those that run on request;
    and its extra_models. A head brings its source along.

    A cascade needs a profile that allows it, and no model that has to see every picture.
    Raises UnknownModel for a profile or a model that is not there, ModelRefused for one that is broken,
    or what storage says.
    """
    there = catalogue.manifests()
    profile = catalogue.profile(request.profile)

    def asked(name: str) -> bool:
        return name not in there or profile.run.get(name, there[name].run) != "request"

    wanted = {*(request.models or filter(asked, profile.models)), *request.extra_models}
    wanted |= {source for name in wanted if name in there and (source := there[name].source)}
    if missing := sorted(wanted - set(there)):
        faults = catalogue.faults()
        for name in missing:
            if name in faults:
                raise ModelRefused(faults[name])
        raise UnknownModel(f"There is no model {', '.join(missing)}; there are {', '.join(there)}.")
    models = {name: there[name] for name in sorted(wanted)}
    choice = Choice(profile=profile, models=models, cascade=False)
    # A baseline or a rise needs the whole match, and so does a model that always runs but sees every picture.
    based = {signal.model for signal in profile.signals if signal.transform != "level"}
    blind = [name for name in choice.of(swept=False) if choice.run(name) == "always" or name in based]
    cascade = profile.cascade is not None and not request.exhaustive and not blind
    return choice.model_copy(update={"cascade": cascade})
