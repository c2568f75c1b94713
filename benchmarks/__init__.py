"""Speed, memory and size, compared with the strongest alternatives: `python -m benchmarks.<subject>`."""
