class CompiledFunction:
    def __init__(self, jitted, name, watch=None):
        self.function, self.name = jitted, name

    def __call__(self, *a):
        return self.function(*a)
