"""Files of arrays (netcdf, zarr, grib, npz): opened, their coordinates found, their cells made rows."""

from pipeline.ingest.decoding.gridded.subprocess_reader import decode_gridded

__all__ = ["decode_gridded"]
