"""Outside -> facts: directories of Kubernetes objects, the certificate authority, DNS. Each source is supervised and costs only itself.

A source has `async def run(self, emit)`; `emit` takes a batch of facts that is applied as one.
"""
