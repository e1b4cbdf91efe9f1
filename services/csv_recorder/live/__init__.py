"""Record: messages to files that survive a crash."""
