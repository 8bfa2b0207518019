"""One small server a peer, each as the peer's own documentation advises."""
