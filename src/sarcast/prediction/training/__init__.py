"""Training of networks: the loop, plans from scratch, adaptations and recipes, augmentation."""
