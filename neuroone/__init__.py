"""EEG headsets in classrooms: what the services share, and the command that starts them."""
