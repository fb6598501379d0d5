//! Tests of the PDT look-up.
