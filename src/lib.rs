//! config-audit
