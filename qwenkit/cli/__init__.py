"""The commands: parse, call the pipeline, print. Nothing heavy is imported before a command needs it."""
