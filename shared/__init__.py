"""The core: plan, score, spot, cut. No function bindings; who knows Azure: azure, storage and sources."""
