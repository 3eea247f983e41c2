"""Scripted behaviour: schedules, needs-driven, random and idle residents."""
