"""The durable orchestration and the HTTP API: bindings over shared."""
