"""The core: plan, score, spot, cut. No function bindings; azure only in storage.py."""
