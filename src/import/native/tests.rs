//! Native guests, key by key.
