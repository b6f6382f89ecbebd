"""Facts of all clusters -> one mesh. Pure functions of (read, key); pipeline.py says which reads which."""
