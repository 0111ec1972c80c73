//! Listeners, connections, egress, client side.
