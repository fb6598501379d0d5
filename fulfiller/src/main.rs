//! Entry point of the fulfiller. The shared runtime starts its parts; see [`quittance_fulfiller`].

fn main() {}
