"""Reading what runs and sweeps left on the disk: to list, show and compare them, without the libraries that train."""
