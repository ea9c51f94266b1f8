"""The command line of the course: the laptop stack, its doctor and the demo."""
