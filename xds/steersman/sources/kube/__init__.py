"""A cluster read from its Kubernetes API: list, watch, and go on through whatever happens to either (docs/design/kubernetes.md)."""
