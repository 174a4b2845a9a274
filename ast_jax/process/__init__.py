"""The process and its neighbours: hosts of a pod, flags, signals to stop, one owner of a folder."""
