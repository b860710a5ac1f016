"""Read reference inputs and outputs from files, within bounds."""
