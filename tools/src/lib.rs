//! Admin command line, offline store reader.
