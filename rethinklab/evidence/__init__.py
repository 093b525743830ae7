"""What figures are drawn from: gathered from the networks, plans and histories of a store as tidy
tables that are small enough to be kept beside the results."""
