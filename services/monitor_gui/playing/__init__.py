"""Play what was recorded: captures, session folders and EDF files, in the window and without a broker."""
