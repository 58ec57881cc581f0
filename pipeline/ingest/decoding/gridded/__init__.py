"""Decoding of gridded files: NetCDF, Zarr, GRIB and npz."""

from pipeline.ingest.decoding.gridded.subprocess_reader import decode_gridded

__all__ = ["decode_gridded"]
