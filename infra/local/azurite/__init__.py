"""Azurite, Microsoft's blob storage emulator: install it, run it, end it."""

from infra.local.azurite.emulator import DEFAULT_PORT, Azurite, AzuriteError, setup

__all__ = ["DEFAULT_PORT", "Azurite", "AzuriteError", "setup"]
