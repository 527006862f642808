"""One network on all labels against one network per label: planned, trained, measured, written down."""
