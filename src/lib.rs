//! The runtime behind customer-service chat.
