"""A mesh on this machine: real Envoys and apps, in networks of their own, run as one process tree from one file."""
