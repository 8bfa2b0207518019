"""What reports and texts for people are made of."""
