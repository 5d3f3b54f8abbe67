"""Where records live and how they are found."""
