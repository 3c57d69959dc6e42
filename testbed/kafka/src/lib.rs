//! Real parts for tests: a Kafka cluster on loopback
