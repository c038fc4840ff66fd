"""The stack's dashboard as a picture: the template's widgets, filled with the figures of a local run."""
