"""The public pack: published documentation of Debian packages, and questions made of its pages."""
