"""What can be wrong with labelled images, whatever they show: the same picture twice, labels in doubt, a stain that tells the class."""
