"""The core: plan, score, spot, cut. No function bindings; Azure only in azure.py, storage.py and sources.py."""
