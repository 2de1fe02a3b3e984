"""What goes over the wire and what it means: values and functions without sockets, tasks or clocks."""
