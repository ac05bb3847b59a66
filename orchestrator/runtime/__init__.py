"""The composition root: the one place that builds the parts, hands each its options, and starts and stops them."""
