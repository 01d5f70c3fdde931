"""What people use without writing Python: the command line and the web page."""
