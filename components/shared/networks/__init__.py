"""The networks: a file each, with all that is a network's own, and the table that names them."""
