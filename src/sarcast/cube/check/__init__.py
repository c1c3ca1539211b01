"""What a cube holds, and what is wrong with it."""
