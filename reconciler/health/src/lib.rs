//! Health of one object and of many.
