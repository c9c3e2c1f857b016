//! Applying events.
