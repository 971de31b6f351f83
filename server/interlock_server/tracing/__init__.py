"""Spans of what requests go through, towards an OpenTelemetry collector. Off by default; otlp.py alone loads the SDK."""
