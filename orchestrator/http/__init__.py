"""The HTTP API. ROUTES has an entry for each function; handlers stand in jobs, batches and service.

Handlers bind what shared.jobs does to requests and answers. Errors are problem+json (RFC 9457).
"""
