"""What the image itself sets, read from its Dockerfile."""

from __future__ import annotations

import re
import shlex


def image_environment(dockerfile: str) -> dict[str, str]:
    """The variables of every ENV instruction; of two of one name the later."""
    lines = re.sub(r"\\\n", " ", dockerfile).splitlines()
    words = [word for line in lines if line.startswith("ENV ") for word in shlex.split(line)[1:]]
    return {name: value for name, _, value in (word.partition("=") for word in words)}
