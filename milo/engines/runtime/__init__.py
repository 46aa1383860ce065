"""What engines of several families share: converted weights, checks of tensors, devices."""
