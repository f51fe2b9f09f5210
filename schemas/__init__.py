"""The bundled table schemas: hand-written pandera YAML files, one a schema."""
