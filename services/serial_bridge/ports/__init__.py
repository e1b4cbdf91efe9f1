"""Where headset bytes come from: serial ports, network ports, files, a simulated headset."""
