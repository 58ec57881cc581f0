"""Published forms of a forecast, and the pointer to the latest one."""
