//! Promises of the server, each tested as its user would see it.
