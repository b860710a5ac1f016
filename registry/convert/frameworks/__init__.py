"""Convert the models of each framework, in a child process."""
