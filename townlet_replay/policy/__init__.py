"""The torch policy: network, acting, checkpoints."""
