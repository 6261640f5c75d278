"""What a training is at one moment, kept so that it can go on from there to the same bits."""
