"""The xDS protocol, sans-IO: requests in, actions out; no clock, no socket, no task. See docs/design/ads.md."""
