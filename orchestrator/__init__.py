"""Bindings over shared: the durable orchestrations, the HTTP API, the timers."""
