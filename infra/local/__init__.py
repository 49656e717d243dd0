"""The embedded host: runs the unmodified function app on one machine, without a Functions host.

The engine is Microsoft's in-memory backend of the package durabletask; this package is the
bridge between it, the Durable Functions SDK and HTTP. `python -m infra.local host` starts it.
"""
