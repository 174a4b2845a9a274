"""Files of this project and of others: whole writes, paths that stay inside, archives, limits of size."""
