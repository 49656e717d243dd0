"""The HTTP server of the embedded host: the app's routes, function keys, and the durable management API."""

from infra.local.http.keys import SETTING
from infra.local.http.management import PREFIX, Management, client_binding
from infra.local.http.routes import application

__all__ = ["PREFIX", "SETTING", "Management", "application", "client_binding"]
