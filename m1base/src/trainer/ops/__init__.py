"""Operators on point sets and voxels: in torch, compiled by numba for CPUs, and as CUDA kernels."""
