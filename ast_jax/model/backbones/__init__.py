"""The networks that turn a picture into feature maps, one file each."""
