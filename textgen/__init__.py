"Turn your own text into a model that writes."
__version__ = "0.1.0"
