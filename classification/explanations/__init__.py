"""What a model went by: heat maps of networks, Shapley values of feature models, and whether they can be believed."""
