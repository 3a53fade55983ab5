"""Tables: values, classes or risks of rows."""
