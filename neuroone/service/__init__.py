"""How a service lives: settings, start and stop, logs, health."""
