"""`neuroone forward`: bring what happens at a school to its district."""
