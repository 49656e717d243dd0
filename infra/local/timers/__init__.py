"""Runs the app's timer functions, on NCRONTAB schedules."""

from infra.local.timers.triggers import Timers

__all__ = ["Timers"]
