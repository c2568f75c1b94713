"""Metrics and progress: the catalog of all metrics, what this process measured, and the server Prometheus scrapes."""
