"""What proxies see, as Envoy's bytes. Pure: the same view gives the same bytes on every replica and after every restart."""
