"""How a network is trained, by tune, train and cross-validate alike."""
