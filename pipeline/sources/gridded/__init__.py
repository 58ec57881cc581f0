"""Files of arrays (netcdf, zarr, grib, npz): opened, their coordinates found, their cells made rows."""

from pipeline.sources.gridded.apart import decode_gridded

__all__ = ["decode_gridded"]
