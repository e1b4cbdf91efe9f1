"""Pages, downloads, health and metrics on the same port."""
