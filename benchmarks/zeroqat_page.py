def write(stored):
    pass
