"""What every program has: settings, start and end, logs, health check."""
