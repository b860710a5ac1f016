"""Define the commands of ``zoo``, one module each."""
