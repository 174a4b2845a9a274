"""What training reads: pictures, masks and crops, the one data set format, and batches of it."""
