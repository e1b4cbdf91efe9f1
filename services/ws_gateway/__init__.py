"""Serves students' phones, dashboards and games over WebSocket."""
