//! The pure engine: sliding windows, visits, ranking and trends
