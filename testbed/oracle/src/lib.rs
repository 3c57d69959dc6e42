//! A slow and obvious computation of every result, to check the engine against
