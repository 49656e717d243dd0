"""The HTTP API over shared.jobs. Errors are problem+json (RFC 9457).

routes has the table of all functions; jobs, batches and service have their handlers.
"""
