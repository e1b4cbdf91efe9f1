"""Work on recorded files: verify, forget, report, export."""
