"""What a run will take, told before it starts: tokens, steps, memory, time. Nothing is loaded for it."""
