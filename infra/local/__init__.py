"""The embedded host: runs the unmodified function app on one machine, without a Functions host.

The engine is Microsoft's in-memory backend in the package durabletask. This package connects the engine, the
Durable Functions SDK and HTTP. `python -m infra.local host` starts it; `embedded.EmbeddedHost` starts it as a
child process.
"""
