"""The bundled models, one a file. Each file ends in a ready ``plugin`` object."""
