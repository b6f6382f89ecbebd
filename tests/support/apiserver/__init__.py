"""A double of the Kubernetes API server, over real sockets: what a client sees of the real one, and of its faults.

`Double` runs one, in a thread of its own; tests/kube/test_fidelity.py holds it to the real kube-apiserver where that is to be had.
"""
