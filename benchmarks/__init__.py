"""Speed, memory and size, measured beside the strongest alternatives: `python -m benchmarks.<subject>`."""
