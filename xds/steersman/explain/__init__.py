"""Questions put to a settled pipeline. Pure: they read the same values that the resources are made of."""
