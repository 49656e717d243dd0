"""Timer functions, by NCRONTAB schedules."""

from infra.local.timers.triggers import Timers

__all__ = ["Timers"]
